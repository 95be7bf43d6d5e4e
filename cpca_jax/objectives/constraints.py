"""Direct constraints on a critic's weights, without a penalty: clipping, spectral normalisation.

A constraint is three pure functions over the critic's parameter tree, so that it fits any critic:
one prepares the tree before training, one gives the weights that the critic computes with, and one
changes the tree after each update. `penalties.PENALTIES` has the rows that use them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from cpca_jax.types import Params, RandomKey

# Arjovsky et al. 2017, algorithm 1.
CLIP = 0.01
# The leaf next to a kernel that holds the running estimate of its first singular vector.
VECTOR = "singular_vector"
# The rounds before training, so that the first estimate is already good; each step adds one.
_FIRST_ROUNDS = 20


@dataclasses.dataclass(frozen=True)
class Constraint:
    """Three functions over a critic's parameters.

    Attributes:
        prepare: a function (params, key) -> params before the first step; it may add leaves of
            its own.
        effective: a function params -> the weights that the critic computes with.
        after_update: a function params -> params after each update of the critic.
    """

    prepare: Callable[[Params, RandomKey], Params]
    effective: Callable[[Params], Params]
    after_update: Callable[[Params], Params]


def clipped(params: Params) -> Params:
    """Clip every weight to [-0.01, 0.01] (Arjovsky et al. 2017)."""
    return jax.tree.map(lambda leaf: jnp.clip(leaf, -CLIP, CLIP), params)


def with_vectors(params: Params, key: RandomKey) -> Params:
    """Add a random unit vector next to every kernel, improved by power iteration."""

    def add(layer: Mapping[str, Any]) -> Mapping[str, Any]:
        units = layer["kernel"].shape[-1]
        vector = _unit(jax.random.normal(jax.random.fold_in(key, units), (units,)))
        for _ in range(_FIRST_ROUNDS):
            vector = _iterate(layer["kernel"], vector)[1]
        return {**layer, VECTOR: vector}

    return _each_layer(params, add)


def normalised(params: Params) -> Params:
    """Divide every kernel by its first singular value and leave the vectors out.

    Kernels are read as matrices (all axes but the last, outputs). The singular value is v W u,
    with one power iteration from the running vector; no gradient flows through v and u (Miyato et
    al. 2018, algorithm 1).
    """

    def divide(layer: Mapping[str, Any]) -> Mapping[str, Any]:
        kernel = layer["kernel"]
        left, right = _iterate(lax.stop_gradient(kernel), lax.stop_gradient(layer[VECTOR]))
        first_singular_value = left @ _matrix(kernel) @ right
        rest = {name: leaf for name, leaf in layer.items() if name != VECTOR}
        return {**rest, "kernel": kernel / first_singular_value}

    return _each_layer(params, divide)


def with_next_vectors(params: Params) -> Params:
    """Move the running vectors one power iteration further."""
    return _each_layer(
        params, lambda layer: {**layer, VECTOR: _iterate(layer["kernel"], layer[VECTOR])[1]}
    )


UNCONSTRAINED = Constraint(lambda params, key: params, lambda p: p, lambda p: p)
WEIGHT_CLIPPING = Constraint(lambda params, key: clipped(params), lambda p: p, clipped)
SPECTRAL_NORM = Constraint(with_vectors, normalised, with_next_vectors)


def _each_layer(
    params: Params, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> dict[str, Any]:
    """Apply a change to every layer that has a kernel, at any depth."""
    if "kernel" in params:
        return dict(change(params))
    return {
        name: _each_layer(part, change) if isinstance(part, Mapping) else part
        for name, part in params.items()
    }


def _matrix(kernel: Array) -> Array:
    return kernel.reshape(-1, kernel.shape[-1])


def _iterate(kernel: Array, vector: Array) -> tuple[Array, Array]:
    """Return the left singular vector of one power iteration, and the right one it gives."""
    matrix = _matrix(kernel)
    left = _unit(matrix @ vector)
    return left, _unit(matrix.T @ left)


def _unit(vector: Array) -> Array:
    # The published epsilon.
    unit: Array = vector / (jnp.linalg.norm(vector) + 1e-12)
    return unit
