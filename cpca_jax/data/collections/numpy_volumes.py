"""Plain NumPy arrays: one .npy file of HU (z y x) for each scan.

The dose is told by the file's name (NAME_full.npy, NAME_low.npy) or by a folder's. Slices are
neighbours in the order of z; pixel size and distance come from NAME.json, see `sidecar`.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np
from jaxtyping import Num

from cpca_jax.data import folders
from cpca_jax.data.collections.arrays import ArrayScan, open_npy
from cpca_jax.data.collections.finding import find_each, left_out
from cpca_jax.data.collections.sidecar import read_sidecar
from cpca_jax.data.listing import Listing
from cpca_jax.data.scan import FoundScans, Track

_NOTE = (
    "arrays tell no patient and no spacing: each name counts as one, NAME.json may say otherwise"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumpyScan(ArrayScan):
    """The volume of one .npy file."""

    def values(self) -> Num[np.ndarray, "z y x"]:
        """Return the mapped array."""
        return open_npy(self.arrays[0], "z y x")


def is_npy(path: Path) -> bool:
    """Tell whether a file has the name of a NumPy array."""
    return path.name.lower().endswith(".npy")


def find_arrays(root: Path, *, listed: Listing, level: str | None, track: Track) -> FoundScans:
    """Read the headers of all .npy files below a folder, see `scan.Find`.

    Raises:
        VolumeError: no scan can be used.
    """
    paths = [path for path in listed.paths if is_npy(path)]
    scans_of = functools.partial(_scans, root=root, level=level)
    found = find_each(paths, scans_of, root=root, what="NumPy volume", track=track)
    return dataclasses.replace(found, left_out=left_out(listed, len(paths)), notes=(_NOTE,))


def _scans(path: Path, *, root: Path, level: str | None) -> tuple[NumpyScan]:
    name = path.name[: -len(".npy")]
    above = path.parent.relative_to(root.parent).parts
    shape = open_npy(path, "z y x").shape
    scan = NumpyScan(
        name=name,
        above=above,
        arrays=(path,),
        shape=shape,
        numbers=tuple(range(shape[0])),
        in_order=True,
        dose_level=level or folders.dose_level((*above, name)),
        beside=read_sidecar(path.parent, (name, folders.without_level(name))),
    )
    return (scan,)
