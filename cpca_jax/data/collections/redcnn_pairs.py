"""Pairs of slices as the RED-CNN repositories for PyTorch prepare them.

    L067_0_input.npy    low dose, float (y x), (HU + 1024) / 4096: [-1024, 3072] HU is [0, 1]
    L067_0_target.npy   full dose of the same slice

The name is the patient and the number of the slice, ascending along z (prep.py of
SSinyu/RED-CNN sorts by ImagePositionPatient), so that consecutive numbers are neighbours; the
distance between them is not kept.
"""

import dataclasses
import functools
import re
from pathlib import Path

import numpy as np
from jaxtyping import Num

from cpca_jax.data.collections.arrays import ArrayScan, open_npy
from cpca_jax.data.collections.finding import find_each, left_out, require_no_level
from cpca_jax.data.collections.sidecar import read_sidecar
from cpca_jax.data.collections.slice_stacks import (
    SliceFile,
    SliceStack,
    sort_slices,
    stack_shape,
)
from cpca_jax.data.folders import FULL, LOW
from cpca_jax.data.listing import Listing
from cpca_jax.data.scan import FoundScans, Track

_FILE = re.compile(r"(?P<name>.+)_(?P<number>\d{1,9})_(?P<side>input|target)\.npy")
_LEVELS = {"input": LOW, "target": FULL}
_SLOPE, _INTERCEPT = 4096.0, -1024.0
_NOTE = "the slices' distance and pixel size are unknown; PATIENT.json may tell them"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RedCnnScan(SliceStack):
    """The slices of a patient at one dose level."""

    def slice_values(self, path: Path) -> Num[np.ndarray, "y x"]:
        """Return the mapped array."""
        return open_npy(path, "y x")


def is_pair_slice(path: Path) -> bool:
    """Tell whether a file has the name of one side of such a pair."""
    return bool(_FILE.fullmatch(path.name))


def find_slice_pairs(root: Path, *, listed: Listing, level: str | None, track: Track) -> FoundScans:
    """Sort the slices below a folder by patient and dose, see `scan.Find`.

    Raises:
        VolumeError: no scan can be used.
        ConfigError: a dose level is given, although the names tell it.
    """
    require_no_level("RED-CNN", level)
    files = [
        SliceFile(path.parent, match["name"], _LEVELS[match["side"]], int(match["number"]), path)
        for path in listed.paths
        if (match := _FILE.fullmatch(path.name))
    ]
    scans_of = functools.partial(_scans, root=root)
    stacks = sort_slices(files)
    found = find_each(stacks, scans_of, root=root, what="stack of slices", track=track)
    return dataclasses.replace(found, left_out=left_out(listed, len(files)), notes=(_NOTE,))


def _scans(files: list[SliceFile], *, root: Path) -> tuple[ArrayScan]:
    first = files[0]
    scan = RedCnnScan(
        name=first.name,
        above=first.folder.relative_to(root.parent).parts,
        arrays=tuple(file.path for file in files),
        shape=stack_shape((file, open_npy(file.path, "y x").shape) for file in files),
        numbers=tuple(file.number for file in files),
        in_order=True,
        dose_level=first.level,
        beside=read_sidecar(first.folder, (first.name,)),
        slope=_SLOPE,
        intercept=_INTERCEPT,
    )
    return (scan,)
