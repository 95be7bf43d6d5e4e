"""A store: paired volumes in HU as memory-mapped arrays with a manifest.

    STORE/manifest.json      see `manifest`
    STORE/NAME.low.npy       int16 HU, (z y x)
    STORE/NAME.full.npy      the same slices at full dose

It appears complete or not at all, and no array is ever unpickled. `Store.split` gives out series
for use only after their arrays were found to have the digests that the manifest states.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from cpca_jax.data.collections.pairs import SPLITS
from cpca_jax.data.neighbours import neighbour_runs
from cpca_jax.data.store import digests, manifest
from cpca_jax.data.store.manifest import ArrayFile, SeriesInfo
from cpca_jax.errors import ConfigError, StoreError
from cpca_jax.registry import near
from cpca_jax.runtime import circumstances
from cpca_jax.runtime.files import is_special
from cpca_jax.types import VolumeHU

# Slices further apart than this number of thicknesses are not neighbours, however regular their
# steps: the tissue between them is in neither.
_LONGEST_STEP = 2.0
# No scanner makes slices as thick as this, which is also the limit for an unknown thickness.
_LONGEST_MM = 20.0


@dataclasses.dataclass(frozen=True, eq=False)
class PairedSeries(SeriesInfo):
    """One scan at two dose levels.

    Attributes:
        low: the low dose, int16 HU (z y x); read-only, on disk until touched.
        full: the same slices at full dose.
    """

    low: VolumeHU = dataclasses.field(kw_only=True)
    full: VolumeHU = dataclasses.field(kw_only=True)

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """The stretches (start, stop) of neighbouring slices, which make up the whole series."""
        if self.placement == "single":
            return tuple((z, z + 1) for z in range(len(self.positions_mm)))
        if self.placement == "ordered":
            return tuple(neighbour_runs(self.positions_mm, longest_mm=1.0))
        longest = min(_LONGEST_STEP * self.thickness_mm or _LONGEST_MM, _LONGEST_MM)
        return tuple(neighbour_runs(self.positions_mm, longest_mm=longest))

    def centres(self, slices: int) -> Int[np.ndarray, " n"]:
        """Return the slices with (slices - 1) / 2 neighbours on each side, at the regular step.

        The regular step is the smallest of the series, within 1 %, and at most two slice
        thicknesses and 20 mm; where the distance is unknown but the order is not, slices with
        consecutive numbers are neighbours.

        Args:
            slices: an odd number; 1 needs no neighbour and gives all slices.

        Returns:
            The z indices, ascending; may be empty.

        Raises:
            ConfigError: `slices` is even or below 1.
        """
        if slices < 1 or slices % 2 == 0:
            raise ConfigError(f"slices is {slices}, must be odd and positive")
        half = slices // 2
        inner = [np.arange(start + half, stop - half) for start, stop in self.runs]
        return np.concatenate([*inner, np.zeros(0, int)]).astype(int)


@dataclasses.dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        root: its folder.
        series: all its series, in the order of the manifest.
        fingerprint: the SHA-256 over names, splits and digests of all arrays, which identifies the
            data that a run was trained on.
        files: the low-dose and the full-dose file of each series, by its name.
    """

    root: Path
    series: tuple[PairedSeries, ...]
    fingerprint: str
    files: Mapping[str, tuple[ArrayFile, ArrayFile]]

    def split(
        self,
        name: str,
        *,
        kernels: tuple[str, ...] = (),
        key: str = "config.data.kernels",
        every: bool = True,
    ) -> tuple[PairedSeries, ...]:
        """Return the series of one split, after their volumes were found sound.

        Args:
            name: the split.
            kernels: the reconstruction kernels to use; empty for all.
            key: the key or flag that gave the kernels.
            every: whether each of the kernels must be in the split; otherwise one is enough.

        Raises:
            StoreError: the split has no series, a kernel is in none of them, or a volume is not
                as the manifest says.
        """
        chosen = tuple(series for series in self.series if series.split == name)
        if not chosen:
            known = ", ".join(s for s in SPLITS if any(x.split == s for x in self.series))
            raise StoreError(f"{self.root.name}: no series in split {name!r}, only in {known}")
        kept = tuple(series for series in chosen if not kernels or series.kernel in kernels)
        there = sorted({series.kernel for series in chosen})
        absent = [kernel for kernel in kernels if kernel not in there]
        if absent and (every or not kept):
            raise StoreError(
                f"{key}: no series of split '{name}' with {absent[0]}; there are "
                f"{', '.join(there)}{near(absent[0], there)}"
            )
        digests.require_sound(self.root, self._volumes(kept))
        return kept

    def require_unchanged(self) -> None:
        """Refuse volumes that were changed while they are in use; what was not used passes.

        Raises:
            StoreError: a volume that was given out by `split` was changed in place.
        """
        digests.require_unchanged(self.root, self._volumes(self.series))

    def _volumes(self, series: tuple[PairedSeries, ...]) -> tuple[ArrayFile, ...]:
        return tuple(file for one in series for file in self.files[one.name])


def open_store(root: Path, *, verify: bool = False) -> Store:
    """Open a store for reading.

    Args:
        root: its folder.
        verify: whether the digests of all arrays are compared now; `Store.split` compares those of
            the arrays that it gives out.

    Returns:
        The store; arrays are mapped, not read.

    Raises:
        StoreError: the store is missing, of another version, incomplete or damaged.
    """
    series: list[PairedSeries] = []
    files: dict[str, tuple[ArrayFile, ArrayFile]] = {}
    lines: list[str] = []
    for entry in manifest.read(root):
        info = entry.info
        files[info.name] = entry.low, entry.full
        low, full = (_array(root, file, info) for file in files[info.name])
        if low.shape != full.shape:
            shapes = f"{low.shape} in low and {full.shape} in full dose"
            raise StoreError(f"{root.name}: {info.name} has shape {shapes}, must be equal")
        series.append(PairedSeries(**_fields(info), low=low, full=full))
        lines.append(" ".join((info.name, info.split, entry.low.sha256, entry.full.sha256)))
    if verify:
        digests.require_sound(root, (file for pair in files.values() for file in pair))
    fingerprint = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    return Store(root, tuple(series), fingerprint, files)


def _fields(info: SeriesInfo) -> dict[str, Any]:
    return {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}


def _array(root: Path, file: ArrayFile, info: SeriesInfo) -> VolumeHU:
    name = f"{root.name}: {file.file}"
    if is_special(root / file.file):
        raise StoreError(f"{name} is a pipe or a device, must be a file; prepare the store again")
    try:
        array: VolumeHU = np.load(root / file.file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise StoreError(f"{name} is missing; prepare the store again") from None
    except OSError as error:
        raise StoreError(f"{name}: cannot be read: {circumstances.reason(error)}") from error
    # The header of an array is text of Python, whose readers raise errors of many kinds.
    except Exception as error:
        damaged = "is truncated or no .npy file of numbers; prepare the store again"
        raise StoreError(f"{name} {circumstances.cause(error, damaged=damaged)}") from error
    if array.dtype != np.int16 or array.ndim != 3 or len(array) != len(info.positions_mm):
        wanted = f"must be int16 ({len(info.positions_mm)}, y, x)"
        raise StoreError(f"{name} is {array.dtype} {array.shape}, {wanted}")
    return array
