"""A batch in parts, one after the other, for batches that do not fit in memory."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array, lax

from cpca_jax.types import Params, RandomKey

# (params, data, key) -> (mean loss over the examples of the data, what else is averaged).
Loss = Callable[[Params, Any, RandomKey], tuple[Array, Any]]


def mean_gradient(
    loss: Loss, params: Params, data: Params, key: RandomKey, parts: int
) -> tuple[Params, Any]:
    """Gradient of a mean loss by `params`, and what the loss gives beside its value.

    Args:
        loss: differentiable; its value and all else are means over examples.
        params: what the gradient is by.
        data: arrays of examples, the first axis a multiple of `parts`.
        key: of the loss; each part gets one of its own, so that random points differ from those
            of the whole batch.
        parts: 1 for the whole batch at once.
    """
    if parts == 1:
        whole: tuple[Params, Any] = jax.grad(loss, has_aux=True)(params, data, key)
        return whole
    total = None
    for part, one in enumerate(jax.random.split(key, parts)):
        found = jax.grad(loss, has_aux=True)(params, part_of(data, part, parts), one)
        total = found if total is None else jax.tree.map(lambda a, b: a + b, total, found)
        # Each part begins when the one before it is done: else all would be held at once.
        params, total = lax.optimization_barrier((params, total))
    mean: tuple[Params, Any] = jax.tree.map(lambda sum_: sum_ / parts, total)
    return mean


def part_of(data: Params, part: int, parts: int) -> Params:
    """Every `parts`-th example: devices that share the examples share each part too."""
    return jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:])[:, part], data)


def in_parts(function: Callable[[Array], Array], examples: Array, parts: int) -> Array:
    """function(examples), computed part by part; in the order of the examples."""
    if parts == 1:
        return function(examples)
    answers = []
    for part in range(parts):
        answers.append(function(part_of(examples, part, parts)))
        examples, answers = lax.optimization_barrier((examples, answers))
    return side_by_side(*answers)


def side_by_side(*examples: Array) -> Array:
    """The first of each, then the second of each, ...: (n, ...) k times to (n k, ...)."""
    stacked = jax.numpy.stack(examples, axis=1)
    return stacked.reshape(-1, *stacked.shape[2:])
