"""Random patches: a batch is a function of (seed, step) and nothing else.

So resuming needs only the step, and any number of hosts sees the same data in the same order.
"""

import copy
import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int, Int16

from cpca_jax.data.store import PairedSeries
from cpca_jax.errors import StoreError
from cpca_jax.types import VolumeHU

T = TypeVar("T")
# Rounds of redrawing patches of air; what is still air then is taken, so that it always ends.
_REDRAWS = 8


@dataclasses.dataclass(frozen=True)
class PatchSpec:
    """What a patch is.

    Attributes:
        size: edge in pixels.
        slices: neighbouring slices that one denoised slice is made from.
        air_hu: a full-dose pixel at or below this is air.
        centres: neighbouring full-dose slices, in the middle of a slab of slices + centres - 1.
        augmentation: a row of AUGMENTATIONS.
        air_fraction: a patch with at least this share of air is drawn again (released DU-GAN
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
        """Slices of the quarter-dose slab."""
        return self.slices + self.centres - 1


class Patches(NamedTuple):
    """Patches in HU: quarter-dose slabs (n, z, y, x) and full-dose centres (n, centres, y, x)."""

    quarter: Int16[np.ndarray, "*n z y x"]
    full: Int16[np.ndarray, "*n centres y x"]


class PatchSampler:
    """Draws patches uniformly over all usable slices of some paired series."""

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
        """A sampler of the same series that draws from some slices only.

        Args:
            places: (series, z), z being the middle slice of a patch.

        Raises:
            StoreError: none of them is usable.
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
        """`count` patches of one step.

        Args:
            seed: of the run.
            step: of the run, counted from 0.
            count: how many.
            stream: another independent sequence (0 training, 1 critic warm-up).
        """
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, stream, step))))
        places = self._places(random, count)
        full = self._cut_full(places)
        for _ in range(_REDRAWS):
            air = np.mean(full <= self.spec.air_hu, axis=(1, 2, 3)) >= self.spec.air_fraction
            again = np.flatnonzero(air)
            if not again.size:
                break
            places[again] = self._places(random, again.size)
            full[again] = self._cut_full(places[again])
        turn = AUGMENTATIONS[self.spec.augmentation]
        return turn(random, Patches(self._cut_quarter(places), full))

    def _places(self, random: np.random.Generator, count: int) -> Int[np.ndarray, "n 4"]:
        """Random (series, z, y, x) of the patches' corners; z is the centre slice."""
        chosen = self._centres[random.integers(len(self._centres), size=count)]
        shapes = np.array([paired.full.shape[1:] for paired in self.series])
        room = shapes[chosen[:, 0]] - self.spec.size + 1
        return np.concatenate([chosen, random.integers(room)], axis=1)

    def _cut_full(self, places: Int[np.ndarray, "n 4"]) -> Int16[np.ndarray, "n centres y x"]:
        volumes = [series.full for series in self.series]
        return self._cut(volumes, places, self.spec.centres // 2)

    def _cut_quarter(self, places: Int[np.ndarray, "n 4"]) -> Int16[np.ndarray, "n z y x"]:
        volumes = [series.quarter for series in self.series]
        return self._cut(volumes, places, self.spec.depth // 2)

    def _cut(
        self, volumes: Sequence[VolumeHU], places: Int[np.ndarray, "n 4"], half: int
    ) -> Int16[np.ndarray, "n _ _ _"]:
        """The slices up to `half` away from each place."""
        size = self.spec.size
        return np.stack([
            volumes[s][z - half : z + half + 1, y : y + size, x : x + size] for s, z, y, x in places
        ])


def flips(random: np.random.Generator, patches: Patches) -> Patches:
    """Each patch mirrored or not along y, and along x (CNN-Cascade)."""
    count = len(patches.full)
    return _turned(patches, random.integers(2, size=(count, 2)), np.zeros(count, int))


def dihedral(random: np.random.Generator, patches: Patches) -> Patches:
    """Each patch in one of the eight ways a square lies on itself."""
    count = len(patches.full)
    mirrored = random.integers(2, size=(count, 2))
    return _turned(patches, mirrored, random.integers(2, size=count))


def _turned(
    patches: Patches, mirrored: Int[np.ndarray, "n 2"], quarter_turns: Int[np.ndarray, " n"]
) -> Patches:
    def turn(stack: np.ndarray) -> np.ndarray:
        moved = [
            np.rot90(patch[:, :: 1 - 2 * y, :: 1 - 2 * x], k, axes=(1, 2))
            for patch, (y, x), k in zip(stack, mirrored, quarter_turns, strict=True)
        ]
        return np.stack(moved)

    return Patches(*(turn(stack) for stack in patches))


AUGMENTATIONS: dict[str, Callable[[np.random.Generator, Patches], Patches]] = {
    "none": lambda random, patches: patches,
    "flips": flips,
    "dihedral": dihedral,
}


def stack_draws(patches: Patches, draws: int) -> Patches:
    """Split the patches of a step into one batch per draw: (n, ...) to (draws, n / draws, ...)."""
    return Patches(*(array.reshape(draws, -1, *array.shape[1:]) for array in patches))


def prefetch(make: Callable[[int], T], first: int, last: int, *, ahead: int = 2) -> Iterator[T]:
    """make(first), ..., make(last - 1) in order, made in a thread up to `ahead` items early."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = [pool.submit(make, step) for step in range(first, min(first + ahead, last))]
        for step in range(first, last):
            if step + ahead < last:
                waiting.append(pool.submit(make, step + ahead))
            yield waiting.pop(0).result()


def _usable_centres(series: Sequence[PairedSeries], slices: int) -> Int[np.ndarray, "n 2"]:
    """(series, z) of every slice that has its neighbours at the regular step."""
    rows = [(s, z) for s, paired in enumerate(series) for z in paired.centres(slices)]
    if not rows:
        names = ", ".join(paired.name for paired in series)
        raise StoreError(
            f"no slice of {names} has {slices - 1} regular neighbours: use fewer slices"
        )
    return np.array(rows)
