"""Slices become series: found in a folder, grouped, sorted by geometry.

File names and InstanceNumber are never used for order: they contradict the geometry often
enough, and ImagePositionPatient is what a third dimension means. The series is also where
SliceLocation is left alone: in the AAPM-Mayo challenge it has the opposite sign.
"""

import dataclasses
import functools
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cpca_jax.data import folders
from cpca_jax.data.dicom import slice_file
from cpca_jax.data.dicom.header import STRICT, Allowances, Header
from cpca_jax.data.dicom.header_pool import read_headers
from cpca_jax.data.dicom.slice_file import Slice
from cpca_jax.data.listing import Listing, list_files
from cpca_jax.errors import DicomError, LocalizerError, NotCTError
from cpca_jax.types import VolumeHU

# Passes items through and shows progress: (items, description, how many).
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]

# Positions that differ by less are the same place: files round positions to 1e-3 mm or
# better, and no scanner reconstructs slices less than 0.1 mm apart.
SAME_PLACE_MM = 0.01
# By how much files round what all slices of a series share.
_SAME_THICKNESS_MM = 0.01
_SAME_SPACING_MM = 1e-4
_SAME_COSINE = 1e-3


@dataclasses.dataclass(frozen=True)
class Series:
    """Slices of one reconstruction, ascending along their normal, no place twice.

    Attributes:
        headers: one per slice; equal in everything but place, identifiers and rescale.
        duplicates: how many identical copies of slices were left out.
    """

    headers: tuple[Header, ...]
    duplicates: int = 0

    @property
    def first(self) -> Header:
        """Speaks for all where they agree."""
        return self.headers[0]

    @property
    def dose_level(self) -> str | None:
        """`folders.FULL`, `folders.LOW`, or None where no folder name tells."""
        return folders.dose_level(self.first.folders)

    @functools.cached_property
    def positions_mm(self) -> tuple[float, ...]:
        """Places along the normal, ascending."""
        return tuple(header.position_mm for header in self.headers)

    @functools.cached_property
    def steps_mm(self) -> tuple[float, ...]:
        """Distances of consecutive slices; one less than there are slices."""
        return tuple(float(step) for step in np.diff(self.positions_mm))

    @property
    def tilt_degrees(self) -> float:
        """Angle between the slices' normal and the line of their centres; 0 for one slice."""
        line = np.subtract(self.headers[-1].origin_mm, self.headers[0].origin_mm)
        length = float(np.linalg.norm(line))
        if length < SAME_PLACE_MM:
            return 0.0
        along = (self.positions_mm[-1] - self.positions_mm[0]) / length
        return math.degrees(math.acos(min(1.0, along)))

    @property
    def label(self) -> str:
        """For messages: patient key, kernel, thickness."""
        first = self.first
        return f"{first.patient_key} {first.kernel} {first.thickness_mm:g} mm"

    def file_name(self, *, patient: str) -> str:
        """A name for files: `patient`, if any, kernel, thickness; no blanks or odd characters."""
        first = self.first
        parts = (patient, first.kernel, f"{first.thickness_mm:g}mm")
        return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(part for part in parts if part))


@dataclasses.dataclass(frozen=True)
class Found:
    """What a folder holds.

    Attributes:
        series: usable series.
        refused: one message per file or series that cannot be used.
        localizers: how many scout views were left out.
        foreign: how many files are of another kind (not DICOM).
        projections: how many files were set aside because their folder holds projections.
        notes: what else is worth knowing about them, one line each.
        other: one message per file that is DICOM but no CT slice.
    """

    series: tuple[Series, ...]
    refused: tuple[str, ...]
    localizers: int
    foreign: int
    projections: int = 0
    notes: tuple[str, ...] = ()
    other: tuple[str, ...] = ()


def no_track(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    """The items as they are; nothing is shown."""
    return items


def find_series(
    root: Path,
    *,
    track: Track = no_track,
    allowances: Allowances = STRICT,
    listed: Listing | None = None,
) -> Found:
    """Read the headers of all files below a folder and sort them into series.

    Args:
        root: a folder, searched with its subfolders and links to folders.
        track: shows progress over the files.
        allowances: what may be missing in a file.
        listed: the files below it, where they are listed already.

    Returns:
        Series in the order of patient, kernel, thickness and folder, and what was left out.

    Raises:
        DicomError: `root` is not a folder, or holds no usable CT slice.
    """
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        raise DicomError(f"{root.name}: is not a folder, must be one with DICOM files")
    listed = listed or list_files(root)
    paths = listed.paths
    headers: list[Header] = []
    refused: list[str] = []
    other: list[str] = []
    localizers = 0
    reading = read_headers(paths, root=root, allowances=allowances)
    for one in track(reading, "reading headers", len(paths)):
        if isinstance(one, Header):
            headers.append(one)
        elif isinstance(one, LocalizerError):
            localizers += 1
        elif isinstance(one, NotCTError):
            other.append(str(one))
        elif one is not None:
            refused.append(str(one))
    foreign = len(paths) - len(headers) - len(refused) - len(other) - localizers
    series, refused_series = group(headers)
    if not series:
        reasons = (refused + refused_series + other)[:1]
        reason = f"; first refused: {reasons[0]}" if reasons else ""
        raise DicomError(
            f"{root.name}: no usable CT series among {len(paths)} files "
            f"({foreign} not DICOM, {localizers} localizers, "
            f"{len(refused) + len(other)} refused, {listed.projections} projections), "
            f"must hold at least one{reason}"
        )
    return Found(
        series,
        tuple(refused + refused_series),
        localizers=localizers,
        foreign=foreign,
        projections=listed.projections,
        other=tuple(other),
    )


def group(headers: Sequence[Header]) -> tuple[tuple[Series, ...], list[str]]:
    """Sort slices into series: same UID, folder, patient, geometry, kernel and thickness.

    Args:
        headers: slices in any order.

    Returns:
        The series, and a message for each that cannot be used.
    """
    groups: dict[tuple[Any, ...], list[Header]] = defaultdict(list)
    for header in headers:
        groups[_made_alike(header)].append(header)
    usable: list[Series] = []
    refused: list[str] = []
    for alike in (part for key in sorted(groups) for part in _alike(groups[key])):
        try:
            usable.append(_series(alike))
        except DicomError as error:
            refused.append(str(error))
    usable.sort(key=_listed)
    return tuple(usable), refused


def read_volume(series: Series) -> VolumeHU:
    """Read the pixels of a series.

    Args:
        series: the series; its files are read one after another.

    Returns:
        int16 (z y x) in HU, z ascending along the normal.

    Raises:
        DicomError: a slice cannot be read, or is no longer what its header said.
    """
    volume = np.empty((len(series.headers), *series.first.shape), np.int16)
    for z, header in enumerate(series.headers):
        volume[z] = _pixels(header)
    return volume


def read_again(header: Header) -> Slice:
    """The slice that a header was read from, with its pixels.

    Raises:
        DicomError: it cannot be read, or is no longer what its header said.
    """
    image = slice_file.read_slice(header.path, allowances=header.allowances)
    same = (image.sop_key, image.shape, image.origin_mm) == (
        header.sop_key,
        header.shape,
        header.origin_mm,
    )
    if not same:
        raise DicomError(f"{header.path.name}: changed while being read; start again")
    return image


def _listed(one: Series) -> tuple[Any, ...]:
    """Where a series stands in a list: by patient, kernel, thickness and folder."""
    first = one.first
    return (first.patient_key, first.kernel, first.thickness_mm, str(first.path.parent))


def _made_alike(header: Header) -> tuple[Any, ...]:
    """What two slices of one series have in common to the letter."""
    place = (str(header.path.parent), header.series_key)
    return (header.patient_key, header.kernel, *place, header.shape)


def _alike(headers: Sequence[Header]) -> list[list[Header]]:
    """Apart what differs in thickness, pixel spacing or orientation by more than rounding."""
    rows = np.array([(h.thickness_mm, *h.spacing_mm, *h.orientation) for h in headers])
    slack = np.array([_SAME_THICKNESS_MM, *([_SAME_SPACING_MM] * 2), *([_SAME_COSINE] * 6)])
    groups: list[list[Header]] = []
    left = np.arange(len(headers))
    while left.size:
        same = (np.abs(rows[left] - rows[left[0]]) <= slack).all(axis=1)
        groups.append([headers[number] for number in left[same]])
        left = left[~same]
    return sorted(groups, key=lambda group: group[0].thickness_mm)


def _series(headers: Sequence[Header]) -> Series:
    kept: list[Header] = []
    last_mm = -math.inf
    places = _places(headers)
    order = sorted(range(len(headers)), key=lambda n: (places[n], str(headers[n].path)))
    for place_mm, header in ((places[n], headers[n]) for n in order):
        if place_mm - last_mm > SAME_PLACE_MM:
            kept.append(header)
            last_mm = place_mm
        elif not np.array_equal(_pixels(kept[-1]), _pixels(header)):
            names = f"{kept[-1].path.name} and {header.path.name}"
            raise DicomError(
                f"{Series((header,)).label}: {names} have different pixels at the same "
                f"position {place_mm:g} mm, must be one slice at each"
            )
    return Series(tuple(kept), len(headers) - len(kept))


def _places(headers: Sequence[Header]) -> list[float]:
    """`Header.position_mm` of all at once: there may be a hundred thousand of them."""
    cosines = np.array([header.orientation for header in headers])
    normals = np.cross(cosines[:, :3], cosines[:, 3:])
    origins = np.array([header.origin_mm for header in headers])
    return [float(place) for place in (normals * origins).sum(axis=1)]


def _pixels(header: Header) -> np.ndarray:
    return read_again(header).pixels_hu
