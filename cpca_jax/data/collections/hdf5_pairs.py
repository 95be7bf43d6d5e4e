"""HDF5 files of pairs: one dataset of low dose and one of full dose, HU, (n y x) each.

The low dose is named data, input, low, quarter or ldct, the full dose label, target, full or ndct.
The meaning of n is not stated, and such files often hold shuffled slices: no slice is the
neighbour of another, unless the sidecar NAME.json tells their distance.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from cpca_jax.data.collections.arrays import ArrayScan, require_numbers
from cpca_jax.data.collections.finding import find_each, left_out, require_no_level
from cpca_jax.data.collections.sidecar import read_sidecar
from cpca_jax.data.folders import FULL, LOW
from cpca_jax.data.listing import Listing
from cpca_jax.data.scan import FoundScans, Track
from cpca_jax.errors import VolumeError
from cpca_jax.runtime import hdf5_files
from cpca_jax.runtime.circumstances import cause

SUFFIXES = (".h5", ".hdf5")
_NAMES = {
    LOW: ("data", "input", "low", "quarter", "ldct"),
    FULL: ("label", "target", "full", "ndct"),
}
_NOTE = "slices of HDF5 files are single, pixel size and patient unknown; NAME.json may tell them"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hdf5Scan(ArrayScan):
    """One dataset of a file."""

    def values(self) -> Num[np.ndarray, "z y x"]:
        """Return the whole dataset."""
        (path,) = self.arrays
        try:
            with hdf5_files.opened(path) as file:
                values: Num[np.ndarray, "z y x"] = _dataset(path, file, str(self.dose_level))[...]
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise VolumeError(f"{path.name}: cannot be read ({cause(error)})") from None
        return values


def is_hdf5(path: Path) -> bool:
    """Tell whether a file has the name of an HDF5 file."""
    return path.name.lower().endswith(SUFFIXES)


def find_hdf5(root: Path, *, listed: Listing, level: str | None, track: Track) -> FoundScans:
    """Read the headers of all HDF5 files below a folder, see `scan.Find`.

    Returns:
        Two scans for each file.

    Raises:
        VolumeError: no scan can be used.
        ConfigError: a dose level is given, although the datasets' names tell it.
    """
    require_no_level("HDF5", level)
    paths = [path for path in listed.paths if is_hdf5(path)]
    scans_of = functools.partial(_scans, root=root)
    found = find_each(paths, scans_of, root=root, what="HDF5 file of pairs", track=track)
    return dataclasses.replace(found, left_out=left_out(listed, len(paths)), notes=(_NOTE,))


def _scans(path: Path, *, root: Path) -> list[Hdf5Scan]:
    name = path.name[: -len(next(s for s in SUFFIXES if path.name.lower().endswith(s)))]
    beside = read_sidecar(path.parent, (name,))
    try:
        with hdf5_files.opened(path) as file:
            shapes = {level: _dataset(path, file, level).shape for level in _NAMES}
    except OSError as error:
        said = cause(error, damaged="is no HDF5 file, or is damaged")
        raise VolumeError(f"{path.name}: {said}") from None
    return [
        Hdf5Scan(
            name=name,
            above=path.parent.relative_to(root.parent).parts,
            arrays=(path,),
            shape=shape,
            numbers=tuple(range(shape[0])),
            in_order=False,
            dose_level=level,
            beside=beside,
        )
        for level, shape in shapes.items()
    ]


def _dataset(path: Path, file: Any, level: str) -> Any:
    """Return the checked dataset of a dose level; nothing of it is read."""
    there = set(file)
    names = [name for name in _NAMES[level] if name in there]
    if len(names) != 1:
        raise VolumeError(
            f"{path.name}: has {len(names)} datasets for the {level} dose, must have one of "
            f"{', '.join(_NAMES[level])}"
        )
    (name,) = names
    fault = hdf5_files.fault(file, name)
    if fault:
        raise VolumeError(f"{path.name}: {name} {fault}")
    dataset = file[name]
    require_numbers(path.name, dataset.dtype, dataset.shape or (), "n y x")
    return dataset
