"""Random patches: a batch is a function of (seed, step) and nothing else.

So resuming needs only the step, and any number of hosts sees the same data in the same order.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int, Int16

from cpca_jax.data.store import PairedSeries
from cpca_jax.errors import StoreError

T = TypeVar("T")
# Rounds of redrawing patches of air; what is still air then is taken, so that it always ends.
_REDRAWS = 8


@dataclasses.dataclass(frozen=True)
class PatchSpec:
    """What a patch is.

    Attributes:
        size: edge in pixels.
        slices: neighbouring slices of the quarter-dose slab.
        air_hu: a full-dose pixel at or below this is air.
        air_fraction: a patch with at least this share of air is drawn again (released DU-GAN
            code: -500 HU and 85 %).
    """

    size: int
    slices: int
    air_hu: float = -500.0
    air_fraction: float = 0.85


class Patches(NamedTuple):
    """Patches in HU: quarter-dose slabs (n, z, y, x) and full-dose centre slices (n, y, x)."""

    quarter: Int16[np.ndarray, "*n z y x"]
    full: Int16[np.ndarray, "*n y x"]


class PatchSampler:
    """Draws patches uniformly over all usable slices of some paired series."""

    def __init__(self, series: Sequence[PairedSeries], spec: PatchSpec) -> None:
        self.spec = spec
        self._series = tuple(series)
        for paired in self._series:
            if min(paired.full.shape[1:]) < spec.size:
                raise StoreError(
                    f"{paired.name}: slices of {paired.full.shape[1:]} are smaller than "
                    f"data.patch = {spec.size}"
                )
        self._centres = _usable_centres(self._series, spec.slices)

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
            air = np.mean(full <= self.spec.air_hu, axis=(1, 2)) >= self.spec.air_fraction
            again = np.flatnonzero(air)
            if not again.size:
                break
            places[again] = self._places(random, again.size)
            full[again] = self._cut_full(places[again])
        return Patches(self._cut_quarter(places), full)

    def _places(self, random: np.random.Generator, count: int) -> Int[np.ndarray, "n 4"]:
        """Random (series, z, y, x) of the patches' corners; z is the centre slice."""
        chosen = self._centres[random.integers(len(self._centres), size=count)]
        shapes = np.array([paired.full.shape[1:] for paired in self._series])
        room = shapes[chosen[:, 0]] - self.spec.size + 1
        return np.concatenate([chosen, random.integers(room)], axis=1)

    def _cut_full(self, places: Int[np.ndarray, "n 4"]) -> Int16[np.ndarray, "n y x"]:
        size = self.spec.size
        cut = [self._series[s].full[z, y : y + size, x : x + size] for s, z, y, x in places]
        return np.stack(cut)

    def _cut_quarter(self, places: Int[np.ndarray, "n 4"]) -> Int16[np.ndarray, "n z y x"]:
        size, half = self.spec.size, self.spec.slices // 2
        return np.stack([
            self._series[s].quarter[z - half : z + half + 1, y : y + size, x : x + size]
            for s, z, y, x in places
        ])


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
