"""16-bit grey PNG files, one for each slice: HU = value - 1024.

The number at the end of the name is that of the slice, and consecutive numbers are neighbours at
an unknown distance. The dose is told by a word before or after the number (L067_full_012.png,
L067_012_low.png, also input and target) or by a folder's name.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from cpca_jax.data import folders
from cpca_jax.data.collections.arrays import ArrayScan
from cpca_jax.data.collections.finding import find_each, left_out
from cpca_jax.data.collections.sidecar import read_sidecar
from cpca_jax.data.collections.slice_stacks import (
    SliceFile,
    SliceStack,
    sort_slices,
    stack_shape,
)
from cpca_jax.data.listing import Listing
from cpca_jax.data.scan import FoundScans, Track
from cpca_jax.errors import VolumeError
from cpca_jax.runtime.circumstances import cause

_INTERCEPT = -1024.0
# Pillow's name for a 16-bit grey image.
_MODE = "I;16"
# Beyond what any scanner writes; a file that claims more would claim gigabytes.
_LONGEST = 8192
# Deflate packs at most 1032 bytes into one.
_TIGHTEST = 1100
_SIDES = {"input": folders.LOW, "target": folders.FULL}
_SIDE = re.compile(r"(^|.*[^a-z0-9])(?P<side>input|target)", re.IGNORECASE)
_NUMBER = re.compile(r"((?P<name>.+)[^A-Za-z0-9])?(?P<number>\d{1,9})")
_NOTE = "PNG files tell no patient, distance and pixel size; NAME.json may tell them"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PngScan(SliceStack):
    """The slices of one name and dose level."""

    def slice_values(self, path: Path) -> Num[np.ndarray, "y x"]:
        """Return the decoded image, uint16."""
        with _opened(path) as image:
            try:
                return np.asarray(image, np.uint16)
            # Every error of a decoder is a fault of the file.
            except Exception as error:
                raise VolumeError(f"{path.name}: pixels cannot be read ({cause(error)})") from None


def is_png(path: Path) -> bool:
    """Tell whether a file has the name of a PNG image."""
    return path.name.lower().endswith(".png")


def find_png(root: Path, *, listed: Listing, level: str | None, track: Track) -> FoundScans:
    """Sort the PNG files below a folder by name and dose, see `scan.Find`.

    Raises:
        VolumeError: no scan can be used.
    """
    files: list[SliceFile] = []
    refused: list[str] = []
    paths = [path for path in listed.paths if is_png(path)]
    for path in paths:
        try:
            files.append(_parsed(path, root, level))
        except VolumeError as error:
            refused.append(str(error))
    found = find_each(
        sort_slices(files),
        functools.partial(_scans, root=root),
        root=root,
        what="stack of PNG files",
        track=track,
        refused=refused,
    )
    return dataclasses.replace(found, left_out=left_out(listed, len(paths)), notes=(_NOTE,))


def _parsed(path: Path, root: Path, level: str | None) -> SliceFile:
    """Return the facts in a path; the dose is at the end of the name or before the number."""
    stem, told = _split_level(path.name[: -len(".png")])
    match = _NUMBER.fullmatch(stem)
    if not match:
        raise VolumeError(f"{path.name}: must end in the slice's number, as in L067_012.png")
    name, before = _split_level(match["name"] or "")
    above = path.parent.relative_to(root.parent).parts
    dose = level or told or before or folders.dose_level(above)
    return SliceFile(path.parent, name, dose or "", int(match["number"]), path)


def _split_level(name: str) -> tuple[str, str | None]:
    """Separate a name from the dose level at its end."""
    side = _SIDE.fullmatch(name)
    if side:
        return side[1].rstrip("_-. "), _SIDES[side["side"].lower()]
    own = folders.without_level(name)
    return own, folders.dose_level((name,)) if own != name else None


def _scans(files: list[SliceFile], *, root: Path) -> tuple[ArrayScan]:
    first = files[0]
    scan = PngScan(
        name=first.name,
        above=first.folder.relative_to(root.parent).parts,
        arrays=tuple(file.path for file in files),
        shape=stack_shape((file, _shape(file.path)) for file in files),
        numbers=tuple(file.number for file in files),
        in_order=True,
        dose_level=first.level or None,
        beside=read_sidecar(first.folder, (first.name or first.folder.name,)),
        intercept=_INTERCEPT,
    )
    return (scan,)


def _shape(path: Path) -> tuple[int, int]:
    with _opened(path) as image:
        x, y = image.size
        return y, x


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield the checked image; only its header is read."""
    from PIL import Image

    try:
        opened = Image.open(path, formats=["PNG"])
    except Exception as error:
        said = cause(error, damaged="damaged or no PNG")
        raise VolumeError(f"{path.name}: cannot be read: {said}") from None
    with opened as image:
        if image.mode != _MODE:
            raise VolumeError(f"{path.name}: is {image.mode}, must be grey with 16 bits a pixel")
        if max(image.size) > _LONGEST:
            raise VolumeError(f"{path.name}: is {image.size} pixels, must be {_LONGEST} at most")
        claimed, size = 2 * image.size[0] * image.size[1], path.stat().st_size
        if claimed > _TIGHTEST * size:
            raise VolumeError(f"{path.name}: claims {claimed} bytes of pixels in a file of {size}")
        yield image
