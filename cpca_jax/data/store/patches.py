"""Random patches: a batch is a function of (seed, step) and nothing else.

Resuming therefore needs only the step, and any number of hosts sees the same data in the same
order. The places of the patches of a step (`places`) are known before a voxel is read, so each host
can cut its own share of them, and `resident` can cut them on an accelerator.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from jax import Array
from jaxtyping import Int, Int16, Int32

from cpca_jax.data.store.reader import PairedSeries
from cpca_jax.errors import StoreError
from cpca_jax.types import VolumeHU

T = TypeVar("T")
# The number of places drawn for each patch: the first that is not air is taken, else the last.
TRIES = 9


@dataclasses.dataclass(frozen=True)
class PatchSpec:
    """The definition of a patch.

    Attributes:
        size: the edge in pixels.
        slices: the number of neighbouring slices that one denoised slice is made from.
        air_hu: the highest HU of air in the full dose.
        centres: the number of neighbouring full-dose slices, which lie in the middle of a slab of
            slices + centres - 1.
        augmentation: the key of a row of AUGMENTATIONS.
        air_fraction: the share of air from which on a patch is not taken (released DU-GAN
            code: -500 HU and 85 %).
    """

    size: int
    slices: int
    air_hu: float = -500.0
    air_fraction: float = 0.85
    centres: int = 1
    augmentation: str = "none"

    @property
    def depth(self) -> int:
        """The number of slices of the low-dose slab."""
        return self.slices + self.centres - 1

    @property
    def most_air(self) -> int:
        """The number of air pixels from which on a patch is not taken."""
        return math.ceil(self.air_fraction * self.centres * self.size**2)


class Places(NamedTuple):
    """The places and the turns of patches, with one entry of the leading axes for each patch.

    Attributes:
        corners: the place (series, z, y, x) of each of TRIES candidates; z is the middle slice.
        mirrored: two numbers, 1 where the patch is mirrored along y, and along x.
        quarter_turns: 1 where y and x are exchanged by a turn of 90 degrees.
    """

    corners: Int32[np.ndarray | Array, "*n tries 4"]
    mirrored: Int32[np.ndarray | Array, "*n 2"]
    quarter_turns: Int32[np.ndarray | Array, "*n"]


class Patches(NamedTuple):
    """Patches in HU: low-dose slabs (n, z, y, x) and full-dose centres (n, centres, y, x)."""

    low: Int16[np.ndarray, "*n z y x"]
    full: Int16[np.ndarray, "*n centres y x"]


class PatchSampler:
    """A sampler that draws patches uniformly over all usable slices of some paired series."""

    def __init__(self, series: Sequence[PairedSeries], spec: PatchSpec) -> None:
        self.spec = spec
        self.series = tuple(series)
        for paired in self.series:
            if min(paired.full.shape[1:]) < spec.size:
                raise StoreError(
                    f"{paired.name}: slices of {paired.full.shape[1:]} are smaller than "
                    f"data.patch = {spec.size}"
                )
        self._centres = _usable_centres(self.series, spec.depth)

    def restricted(self, places: Collection[tuple[int, int]]) -> "PatchSampler":
        """Return a sampler of the same series that draws from some slices only.

        Args:
            places: the slices as (series, z), where z is the middle slice of a patch.

        Raises:
            StoreError: none of the slices is usable.
        """
        wanted = set(places)
        kept = [tuple(place) in wanted for place in self._centres.tolist()]
        if not any(kept):
            needed = self.spec.depth - 1
            raise StoreError(f"none of {len(wanted)} chosen slices has {needed} regular neighbours")
        chosen = copy.copy(self)
        chosen._centres = self._centres[kept]
        return chosen

    def draw(self, seed: int, step: int, count: int, *, stream: int = 0) -> Patches:
        """Draw `count` patches of one step; see `places` and `cut`."""
        return self.cut(self.places(seed, step, count, stream=stream))

    def places(self, seed: int, step: int, count: int, *, stream: int = 0) -> Places:
        """Draw the places of `count` patches of one step, without reading any patch.

        Args:
            seed: the seed of the run.
            step: the step of the run, counted from 0.
            count: the number of patches.
            stream: the number of an independent sequence (0 training, 1 critic warm-up).
        """
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, stream, step))))
        chosen = self._centres[random.integers(len(self._centres), size=(count, TRIES))]
        shapes = np.array([paired.full.shape[1:] for paired in self.series])
        room = shapes[chosen[..., 0]] - self.spec.size + 1
        corners = np.concatenate([chosen, random.integers(room)], axis=-1)
        mirrored, turns = AUGMENTATIONS[self.spec.augmentation](random, count)
        return Places(*(array.astype(np.int32) for array in (corners, mirrored, turns)))

    def cut(self, places: Places) -> Patches:
        """Cut the patches at some places, with the same leading axes."""
        slabs, centres = [], []
        leading = places.quarter_turns.shape
        flat = (array.reshape(-1, *array.shape[len(leading) :]) for array in places)
        for corners, mirrored, turns in zip(*flat, strict=True):
            for corner in corners:
                series = self.series[corner[0]]
                centre = self._cut(series.full, corner, self.spec.centres // 2)
                if np.count_nonzero(centre <= self.spec.air_hu) < self.spec.most_air:
                    break
            centres.append(_turned(centre, mirrored, int(turns)))
            slab = self._cut(series.low, corner, self.spec.depth // 2)
            slabs.append(_turned(slab, mirrored, int(turns)))
        stacked = (np.stack(slabs), np.stack(centres))
        return Patches(*(array.reshape(*leading, *array.shape[1:]) for array in stacked))

    def _cut(
        self, volume: VolumeHU, corner: Int32[np.ndarray, " 4"], half: int
    ) -> Int16[np.ndarray, "_ _ _"]:
        """Return the slices up to `half` away from a place."""
        size, (_, z, y, x) = self.spec.size, corner
        return volume[z - half : z + half + 1, y : y + size, x : x + size]


def _turned(
    patch: Int16[np.ndarray, "z y x"], mirrored: Int32[np.ndarray, " 2"], turns: int
) -> Int16[np.ndarray, "z y x"]:
    y, x = mirrored
    turned: np.ndarray = np.rot90(patch[:, :: 1 - 2 * y, :: 1 - 2 * x], turns, axes=(1, 2))
    return turned


Turns = tuple[Int[np.ndarray, "n 2"], Int[np.ndarray, " n"]]


def _as_they_are(random: np.random.Generator, count: int) -> Turns:
    return np.zeros((count, 2), int), np.zeros(count, int)


def _flips(random: np.random.Generator, count: int) -> Turns:
    """Mirror each patch, or not, along y and along x (CNN-Cascade)."""
    return random.integers(2, size=(count, 2)), np.zeros(count, int)


def _dihedral(random: np.random.Generator, count: int) -> Turns:
    """Turn and mirror each patch into one of the eight symmetries of a square."""
    return random.integers(2, size=(count, 2)), random.integers(2, size=count)


# Functions that draw, for a number of patches, the mirrorings along y and x and the turns.
AUGMENTATIONS: dict[str, Callable[[np.random.Generator, int], Turns]] = {
    "none": _as_they_are,
    "flips": _flips,
    "dihedral": _dihedral,
}


def stack_draws(places: Places, draws: int) -> Places:
    """Split the places of a step into one batch per draw: (n, ...) to (draws, n / draws, ...)."""
    return Places(*(array.reshape(draws, -1, *array.shape[1:]) for array in places))


def prefetch(make: Callable[[int], T], first: int, last: int, *, ahead: int = 2) -> Iterator[T]:
    """Yield make(first), ..., make(last - 1), made in a thread up to `ahead` items early."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = [pool.submit(make, step) for step in range(first, min(first + ahead, last))]
        for step in range(first, last):
            if step + ahead < last:
                waiting.append(pool.submit(make, step + ahead))
            yield waiting.pop(0).result()


def _usable_centres(series: Sequence[PairedSeries], slices: int) -> Int[np.ndarray, "n 2"]:
    """Return (series, z) of every slice that has its neighbours at the regular step."""
    rows = [(s, z) for s, paired in enumerate(series) for z in paired.centres(slices)]
    if not rows:
        names = ", ".join(paired.name for paired in series)
        raise StoreError(
            f"no slice of {names} has {slices - 1} regular neighbours: use fewer slices"
        )
    return np.array(rows)
