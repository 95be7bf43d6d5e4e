"""A batch in parts, one after the other, for batches that do not fit in memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from cpca_jax.types import Params, RandomKey

# (params, data, key) -> (mean loss over the examples of the data, what else is averaged).
Loss = Callable[[Params, Any, RandomKey], tuple[Array, Any]]


def mean_gradient(
    loss: Loss, params: Params, data: Params, key: RandomKey, parts: int, *, unroll: bool
) -> tuple[Params, Any]:
    """Gradient of a mean loss by `params`, and what the loss gives beside its value.

    Args:
        loss: differentiable; its value and all else are means over examples.
        params: what the gradient is by.
        data: float arrays of examples, the first axis a multiple of `parts`.
        key: of the loss; each part gets one of its own, so that random points differ from those
            of the whole batch.
        parts: 1 for the whole batch at once.
        unroll: write the parts out instead of looping, see `steps.make_train_step`.
    """
    gradient = jax.grad(loss, has_aux=True)
    if parts == 1:
        whole: tuple[Params, Any] = gradient(params, data, key)
        return whole
    keys = jax.random.split(key, parts)

    def add(total: Params, number: Array | int) -> Params:
        part = _once_known(part_of(data, number, parts), total)
        return jax.tree.map(jnp.add, total, gradient(params, part, keys[number]))

    shapes = jax.eval_shape(gradient, params, part_of(data, 0, parts), key)
    total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    if unroll:
        for number in range(parts):
            total = add(total, number)
    else:
        total = lax.fori_loop(0, parts, lambda number, total: add(total, number), total)
    mean: tuple[Params, Any] = jax.tree.map(lambda sum_: sum_ / parts, total)
    return mean


def _once_known(data: Params, needed: Params) -> Params:
    """The data as they are, but not before all of `needed` is computed.

    Else parts that are written out would be computed, and held, side by side. The dependence is
    true arithmetic: the compiler for CPUs drops `lax.optimization_barrier` before it orders its
    work.
    """
    zero = sum(0.0 * leaf.ravel()[0] for leaf in jax.tree.leaves(needed))
    return jax.tree.map(lambda x: x + jnp.asarray(zero, x.dtype), data)


def part_of(data: Params, part: Array | int, parts: int) -> Params:
    """Every `parts`-th example: devices that share the examples share each part too."""
    return jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:])[:, part], data)


def in_parts(function: Callable[[Array], Array], examples: Array, parts: int) -> Array:
    """function(examples), computed part by part; in the order of the examples."""
    if parts == 1:
        return function(examples)
    answers: list[Array] = []
    for part in range(parts):
        one = part_of(examples, part, parts)
        answers.append(function(_once_known(one, answers)))
    return side_by_side(*answers)


def side_by_side(*examples: Array) -> Array:
    """The first of each, then the second of each, ...: (n, ...) k times to (n k, ...)."""
    stacked = jnp.stack(examples, axis=1)
    return stacked.reshape(-1, *stacked.shape[2:])
