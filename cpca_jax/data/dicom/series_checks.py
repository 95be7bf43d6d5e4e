"""Checks that decide whether a series may be denoised, and warnings to its user."""

from collections.abc import Iterable

import numpy as np

from cpca_jax.data.dicom import slice_file
from cpca_jax.data.dicom.header import Header
from cpca_jax.data.dicom.search import Found
from cpca_jax.data.dicom.series import Series
from cpca_jax.data.dicom.slice_file import Slice
from cpca_jax.data.messages import say_first
from cpca_jax.data.neighbours import neighbour_runs
from cpca_jax.data.scan import SPECIAL
from cpca_jax.errors import DicomError
from cpca_jax.types import Say

# The steps between neighbouring slices may differ by this share of the smallest step.
_EVEN = 0.01
_TILTED_DEGREES = 0.1
# Neighbours lie above each other within half a pixel, and at most this many thicknesses apart.
_STRAIGHT = 0.5
_FAR = 1.5
# Tissue and metal lie within this range, in the usual and in the extended CT scale.
_PLAUSIBLE_HU = (-1200, 20000)


def report(found: Found, say: Say) -> None:
    """Say what was found besides usable series."""
    aside = {"not DICOM": found.foreign, "localizers": found.localizers, SPECIAL: found.special}
    for what, count in aside.items():
        if count:
            say(f"left out: {count} {what}")
    say_first("left out", found.other, say)
    say_first("refused", found.refused, say)


def check(one: Series, slices: int, *, repair_uids: bool) -> list[str]:
    """Refuse a series that cannot become a denoised one.

    Args:
        one: the series.
        slices: the number of neighbouring slices that the network takes.
        repair_uids: whether missing UIDs will be made up.

    Returns:
        Warnings, one sentence each.

    Raises:
        DicomError: missing or repeated UIDs, or slices that are missing or unevenly spaced where
            the network takes neighbours.
    """
    _require_uids(one, repair_uids)
    _require_straight(one, slices)
    warnings = [_uneven(one, slices), _apart(one, slices), _tilted(one), _short(one, slices)]
    warnings += _files(one)
    return [warning for warning in warnings if warning]


def require_whole(one: Series, others: Iterable[Series]) -> None:
    """Refuse a series where another folder holds slices of it that this one lacks.

    Args:
        one: the series.
        others: all series that were found; copies at the same places do no harm.

    Raises:
        DicomError: slices of one SeriesInstanceUID interleave or abut in two folders.
    """
    if not one.first.series_key:
        return
    places = set(np.round(one.positions_mm, 2))
    reach = 1.5 * max(one.steps_mm, default=one.first.thickness_mm)
    low, high = min(places) - reach, max(places) + reach
    # Places come last: there may be thousands of series, and most have another UID.
    for other in others:
        if other is one or _origin(other.first) != _origin(one.first):
            continue
        near = {place for place in np.round(other.positions_mm, 2) if low <= place <= high}
        if near and not places & near:
            raise DicomError(
                f"{one.label}: {len(one.headers)} slices here and {len(other.headers)} in another "
                "folder are of one series, must lie in one folder"
            )


def implausible_pixels(image: Slice) -> int:
    """Count the pixels within the scan whose HU no material has."""
    low, high = _PLAUSIBLE_HU
    return int(np.count_nonzero((image.hu < low) | (image.hu > high)))


def _origin(first: Header) -> tuple[object, ...]:
    """Return the values that slices of one SeriesInstanceUID share across folders."""
    return first.series_key, first.patient_key, first.kernel, first.shape


def _require_uids(one: Series, repair_uids: bool) -> None:
    keys = {
        "SOPInstanceUID": [header.sop_key for header in one.headers],
        "SeriesInstanceUID": [header.series_key for header in one.headers],
        "StudyInstanceUID": [header.study_key for header in one.headers],
    }
    missing = [attribute for attribute, values in keys.items() if "" in values]
    if missing and not repair_uids:
        raise DicomError(f"{one.label}: {missing[0]} is missing; --repair_uids makes one")
    known = [key for key in keys["SOPInstanceUID"] if key]
    if len(set(known)) < len(known):
        raise DicomError(
            f"{one.label}: two slices have the same SOPInstanceUID, must have their own"
        )


def _uneven(one: Series, slices: int) -> str:
    if len(neighbour_runs(one.positions_mm, tolerance=_EVEN)) <= 1:
        return ""
    least = min(one.steps_mm)
    steps = f"{least:g} to {max(one.steps_mm):g} mm"
    apart = [
        f"{place:g}"
        for place, step in zip(one.positions_mm, one.steps_mm, strict=False)
        if abs(step - least) > _EVEN * least
    ]
    where = f"after the positions {', '.join(apart[:5])} mm"
    if slices > 1:
        raise DicomError(
            f"{one.label}: steps between slices are {steps} ({where}), must be equal within 1 % "
            f"for a network that takes {slices} neighbours; find the missing slices or use a "
            "network of single slices"
        )
    return f"steps between slices are {steps} ({where}); each slice is denoised by itself"


def _require_straight(one: Series, slices: int) -> None:
    """Refuse neighbours that do not lie above each other."""
    if slices == 1 or len(one.headers) < 3:
        return
    origins = np.array([header.origin_mm for header in one.headers])
    share = np.subtract(one.positions_mm, one.positions_mm[0])[:, None]
    share = share / (one.positions_mm[-1] - one.positions_mm[0])
    aside = np.linalg.norm(origins - (origins[0] + share * (origins[-1] - origins[0])), axis=1)
    worst = int(np.argmax(aside))
    if aside[worst] > _STRAIGHT * min(one.first.spacing_mm):
        raise DicomError(
            f"{one.label}: {one.headers[worst].path.name} lies {aside[worst]:.1f} mm beside the "
            f"line of the others, must lie on it for a network that takes {slices} neighbours"
        )


def _apart(one: Series, slices: int) -> str:
    thickness, steps = one.first.thickness_mm, one.steps_mm
    if slices == 1 or not steps or not thickness or min(steps) <= _FAR * thickness:
        return ""
    return f"slices of {thickness:g} mm lie {min(steps):g} mm apart; is every second one missing?"


def _tilted(one: Series) -> str:
    if one.tilt_degrees < _TILTED_DEGREES:
        return ""
    return f"gantry tilted by {one.tilt_degrees:.1f} degrees; geometry is kept as it is"


def _short(one: Series, slices: int) -> str:
    count = len(one.headers)
    if count >= slices:
        return ""
    return f"{count} slices where the network takes {slices}; the outermost are repeated"


def _files(one: Series) -> list[str]:
    """Return the warnings about single files of the series."""
    programs = sum(slice_file.has_executable_preamble(header.path) for header in one.headers)
    lossy = sum(header.lossy for header in one.headers)
    assumed = one.first.allowances
    ambiguous = sum(header.ambiguous_padding for header in one.headers)
    counts = {
        f"{programs} files begin like a program; what is written begins with zeros": programs,
        f"{lossy} slices were once compressed with loss; the flag is kept": lossy,
        "PixelPaddingValue stands for HU that tissue has; it is not believed": ambiguous,
        f"{one.duplicates} identical copies of slices left out": one.duplicates,
        "values are taken for HU as asked": assumed.assume_hu,
        "places may come from InstanceNumber as asked": assumed.order_by_instance,
    }
    return [sentence for sentence, count in counts.items() if count]
