"""Volumes that stay on the accelerator: patches are cut there, inside the training step.

The host sends only the places of a step's patches, some kilobytes.
"""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cpca_jax.data.store.patches import PatchSpec, Places
from cpca_jax.data.store.reader import PairedSeries
from cpca_jax.types import Leaf

# The HU of rows and columns beyond a smaller series, which are never inside a patch.
_BEYOND = -1024


class Volumes(flax.struct.PyTreeNode):
    """All slices of some paired series, one after the other; int16 HU (slices, y, x).

    Attributes:
        low: the slices at low dose.
        full: the same slices at full dose.
        first: the index of the first slice of each series, int32.
    """

    low: Leaf
    full: Leaf
    first: Leaf


def stack_volumes(series: Sequence[PairedSeries]) -> Volumes:
    """Return the series as host arrays, with rows and columns filled up to the largest."""
    shape = np.max([one.full.shape[1:] for one in series], axis=0)
    depths = [len(one.full) for one in series]
    first = np.cumsum([0, *depths[:-1]])
    low, full = (np.full((sum(depths), *shape), _BEYOND, np.int16) for _ in range(2))
    for start, one in zip(first, series, strict=True):
        part = np.s_[start : start + len(one.full), : one.full.shape[1], : one.full.shape[2]]
        low[part], full[part] = one.low, one.full
    return Volumes(low=low, full=full, first=first.astype(np.int32))


def cut(volumes: Volumes, places: Places, spec: PatchSpec) -> tuple[Array, Array]:
    """Cut the patches that `PatchSampler.cut` gives: low-dose slabs and full-dose centres.

    The patches are cut on the device; the function is pure, for use under jit.

    Args:
        volumes: the sampler's series.
        places: the places of (draws, batch) patches, from the same sampler.
        spec: the sampler's definition of a patch.
    """

    def one(corners: Array, mirrored: Array, turns: Array) -> tuple[Array, Array]:
        def centre(corner: Array) -> Array:
            return _window(volumes.full, volumes.first, corner, spec.centres, spec.size)

        # All candidates are examined: a loop that ends early would cost more than it saves.
        tissue = jnp.sum(jax.vmap(centre)(corners) <= spec.air_hu, axis=(1, 2, 3)) < spec.most_air
        chosen = corners[jnp.where(jnp.any(tissue), jnp.argmax(tissue), len(corners) - 1)]
        slab = _window(volumes.low, volumes.first, chosen, spec.depth, spec.size)
        return _turned(slab, mirrored, turns), _turned(centre(chosen), mirrored, turns)

    found: tuple[Array, Array] = jax.vmap(jax.vmap(one))(*map(jnp.asarray, places))
    return found


def _window(volume: Array, first: Array, corner: Array, depth: int, size: int) -> Array:
    series, z, y, x = corner
    start = (first[series] + z - depth // 2, y, x)
    return lax.dynamic_slice(volume, start, (depth, size, size))


def _turned(patch: Array, mirrored: Array, turns: Array) -> Array:
    """Mirror and turn a patch as on the host; every result is cheap, so one of them is chosen."""
    patch = jnp.where(mirrored[0] == 1, patch[:, ::-1], patch)
    patch = jnp.where(mirrored[1] == 1, patch[:, :, ::-1], patch)
    return jnp.where(turns == 1, jnp.rot90(patch, axes=(1, 2)), patch)
