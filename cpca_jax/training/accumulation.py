"""A batch in parts, one after the other, for batches that do not fit in memory."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from cpca_jax.types import Params, RandomKey

# (params, *arrays of examples, key) -> (mean loss over the examples, what else is averaged).
Loss = Callable[..., tuple[Array, Any]]


def mean_gradient(
    loss: Loss,
    params: Params,
    *examples: Array,
    key: RandomKey,
    parts: int,
    unroll: bool,
) -> tuple[Params, Any]:
    """Return the gradient of a mean loss by `params`, and what the loss gives beside its value.

    Args:
        loss: differentiable; its value and all else are means over examples.
        params: what the gradient is by.
        examples: arrays given to the loss, the first axis of each a multiple of `parts`.
        key: of the loss; each part gets one of its own, so that random points differ from those
            of the whole batch.
        parts: 1 for the whole batch at once.
        unroll: write the parts out instead of looping, see `steps.make_train_step`.
    """
    gradient = jax.grad(loss, has_aux=True)
    if parts == 1:
        whole: tuple[Params, Any] = gradient(params, *examples, key)
        return whole
    keys = jax.random.split(key, parts)

    def of_part(number: Array | int, held: Params) -> Params:
        own = [part_of(array, number, parts) for array in examples]
        if unroll:
            own = _once_known(own, held)
        return jax.tree.map(jnp.add, held, gradient(params, *own, keys[number]))

    first = [part_of(array, 0, parts) for array in examples]
    shapes = jax.eval_shape(gradient, params, *first, key)
    total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    if unroll:
        for number in range(parts):
            total = of_part(number, total)
    else:
        total = lax.fori_loop(0, parts, of_part, total)
    mean: tuple[Params, Any] = jax.tree.map(lambda sum_: sum_ / parts, total)
    return mean


def _once_known(data: Params, needed: Params) -> Params:
    """Return the data as they are, but not before all of `needed` is computed.

    Else parts that are written out would be computed, and held, side by side. The dependence is
    true arithmetic: the compiler for CPUs drops `lax.optimization_barrier` before it orders its
    work. An infinity among the needed numbers does not reach the data.
    """
    zero = sum(0.0 * jnp.nan_to_num(leaf.ravel()[0]) for leaf in jax.tree.leaves(needed))
    return jax.tree.map(lambda x: x + jnp.asarray(zero, x.dtype), data)


def part_of(examples: Array, part: Array | int, parts: int) -> Array:
    """Return every `parts`-th example: devices that share the examples share each part too."""
    return examples.reshape(-1, parts, *examples.shape[1:])[:, part]


def in_parts(
    function: Callable[[Array], Array], examples: Array, parts: int, *, unroll: bool
) -> Array:
    """Return function(examples), computed part by part; in the order of the examples."""
    if parts == 1:
        return function(examples)
    if not unroll:
        answers = lax.map(lambda part: function(part_of(examples, part, parts)), jnp.arange(parts))
        return side_by_side(answers)
    written_out: list[Array] = []
    for part in range(parts):
        one = _once_known(part_of(examples, part, parts), written_out)
        written_out.append(function(one))
    return side_by_side(written_out)


def side_by_side(examples: Sequence[Array] | Array) -> Array:
    """Return the first of each, then the second of each, ...: k times (n, ...) to (n k, ...)."""
    stacked = jnp.stack(list(examples), axis=1)
    return stacked.reshape(-1, *stacked.shape[2:])
