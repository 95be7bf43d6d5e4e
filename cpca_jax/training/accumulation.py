"""Gradients of a batch part by part, for batches that do not fit in memory."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from cpca_jax.types import Params, RandomKey

# (params, *arrays of examples, key) -> (mean loss over the examples, further means).
Loss = Callable[..., tuple[Array, Any]]


def mean_gradient(
    loss: Loss,
    params: Params,
    *examples: Array,
    key: RandomKey,
    parts: int,
    unroll: bool,
) -> tuple[Params, Any]:
    """Return the gradient of a mean loss with respect to `params`, and the loss's further means.

    Args:
        loss: A differentiable function; its value and its other results are means over examples.
        params: The parameters to differentiate with respect to.
        examples: The arrays given to the loss; the first axis of each is a multiple of `parts`.
        key: The random key of the loss; each part gets its own key, so random points differ from
            those of the whole batch.
        parts: The number of parts; 1 for the whole batch at once.
        unroll: True to write the parts out instead of looping, see `steps.make_train_step`.
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
    """Return the data unchanged, but only after all of `needed` is computed.

    Otherwise, parts that are written out would be computed, and held in memory, side by side. The
    dependence is true arithmetic, because the compiler for CPUs drops `lax.optimization_barrier`
    before it orders its work. An infinity in `needed` does not reach the data.
    """
    zero = sum(0.0 * jnp.nan_to_num(leaf.ravel()[0]) for leaf in jax.tree.leaves(needed))
    return jax.tree.map(lambda x: x + jnp.asarray(zero, x.dtype), data)


def part_of(examples: Array, part: Array | int, parts: int) -> Array:
    """Return every `parts`-th example, so that devices share each part as they share the batch."""
    return examples.reshape(-1, parts, *examples.shape[1:])[:, part]


def in_parts(
    function: Callable[[Array], Array], examples: Array, parts: int, *, unroll: bool
) -> Array:
    """Return function(examples), computed part by part, in the order of the examples."""
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
    """Interleave k arrays (n, ...) to (n k, ...): the first of each, then the second of each."""
    stacked = jnp.stack(list(examples), axis=1)
    return stacked.reshape(-1, *stacked.shape[2:])
