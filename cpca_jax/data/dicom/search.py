"""The series below a folder: its slices are found, grouped and sorted by geometry."""

import dataclasses
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cpca_jax.data import folders
from cpca_jax.data.dicom.header import STRICT, Allowances, Header
from cpca_jax.data.dicom.header_pool import read_headers
from cpca_jax.data.dicom.series import Series, read_again
from cpca_jax.data.listing import Listing, list_files
from cpca_jax.data.scan import (
    FOREIGN,
    PROJECTIONS,
    SAME_PLACE_MM,
    SPECIAL,
    FoundScans,
    Track,
    no_track,
)
from cpca_jax.errors import DicomError, LocalizerError, NotCTError

# The rounding of files in values that all slices of a series share.
_SAME_THICKNESS_MM = 0.01
_SAME_SPACING_MM = 1e-4
_SAME_COSINE = 1e-3


@dataclasses.dataclass(frozen=True)
class Found:
    """The contents of a folder.

    Attributes:
        series: the usable series.
        refused: one message for each file or series that cannot be used.
        localizers: the number of scout views that were left out.
        foreign: the number of files of another kind (not DICOM).
        projections: the number of files set aside because their folder holds projections.
        other: one message for each file that is DICOM but no CT slice.
        special: the number of named pipes, sockets and devices, which were passed over.
    """

    series: tuple[Series, ...]
    refused: tuple[str, ...]
    localizers: int
    foreign: int
    projections: int = 0
    other: tuple[str, ...] = ()
    special: int = 0


def find_series(
    root: Path,
    *,
    track: Track = no_track,
    allowances: Allowances = STRICT,
    listed: Listing | None = None,
) -> Found:
    """Read the headers of all files below a folder and sort them into series.

    Args:
        root: the folder; its subfolders and links to folders are searched, too.
        track: the display of progress over the files.
        allowances: the attributes that may be missing in a file.
        listed: the files below the folder, where they are listed already.

    Returns:
        The series in the order of patient, kernel, thickness and folder, and the files left out.

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
        special=listed.special,
    )


def find_scans(root: Path, *, listed: Listing, level: str | None, track: Track) -> FoundScans:
    """Find all series below a folder, see `scan.Find`.

    Raises:
        DicomError: no series can be used.
    """
    found = find_series(root, track=track, listed=listed)
    series = tuple(_of_level(one, level) if level else one for one in found.series)
    lossy = [one for one in series if any(header.lossy for header in one.headers)]
    return FoundScans(
        series,
        (*found.refused, *found.other),
        {
            FOREIGN: found.foreign,
            "localizers": found.localizers,
            PROJECTIONS: found.projections,
            **({SPECIAL: found.special} if found.special else {}),
            "identical copies of slices": sum(one.duplicates for one in series),
        },
        tuple(f"{one.label}: pixels were once compressed with loss" for one in lossy),
        tuple(sorted({folders.layout(one.first.folders) for one in series})),
    )


def group(headers: Sequence[Header]) -> tuple[tuple[Series, ...], list[str]]:
    """Sort slices into series of one UID, folder, patient, geometry, kernel and thickness.

    Args:
        headers: the slices in any order.

    Returns:
        The series, and a message for each series that cannot be used.
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


def _of_level(one: Series, level: str) -> Series:
    """Return the same series at this dose level, regardless of the names of its folders."""
    headers = tuple(
        dataclasses.replace(
            header,
            folders=(*header.folders, f"{level} dose"),
            patient_key=folders.without_collection(header.patient_key, header.folders),
        )
        for header in one.headers
    )
    return dataclasses.replace(one, headers=headers)


def _listed(one: Series) -> tuple[Any, ...]:
    """Return the sort key of a series: patient, kernel, thickness and folder."""
    first = one.first
    return (first.patient_key, first.kernel, first.thickness_mm, str(first.path.parent))


def _made_alike(header: Header) -> tuple[Any, ...]:
    """Return the values that are exactly equal in two slices of one series."""
    place = (str(header.path.parent), header.series_key)
    return (header.patient_key, header.kernel, *place, header.shape)


def _alike(headers: Sequence[Header]) -> list[list[Header]]:
    """Separate slices whose thickness, spacing or orientation differ by more than rounding."""
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
        elif not np.array_equal(read_again(kept[-1]).pixels_hu, read_again(header).pixels_hu):
            names = f"{kept[-1].path.name} and {header.path.name}"
            raise DicomError(
                f"{Series((header,)).label}: {names} have different pixels at the same "
                f"position {place_mm:g} mm, must be one slice at each"
            )
    return Series(tuple(kept), len(headers) - len(kept))


def _places(headers: Sequence[Header]) -> list[float]:
    """Return `Header.position_mm` of all slices at once, for there may be a hundred thousand."""
    cosines = np.array([header.orientation for header in headers])
    normals = np.cross(cosines[:, :3], cosines[:, 3:])
    origins = np.array([header.origin_mm for header in headers])
    return [float(place) for place in (normals * origins).sum(axis=1)]
