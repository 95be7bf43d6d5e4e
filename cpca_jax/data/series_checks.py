"""Whether a series may be denoised, and what its user should know."""

from collections.abc import Callable

import numpy as np

from cpca_jax.data import dicom
from cpca_jax.data.dicom import Slice
from cpca_jax.data.series import Found, Series, neighbour_runs
from cpca_jax.errors import DicomError

# Neighbouring slices of a series lie as far apart as this share of the step allows.
_EVEN = 0.01
_TILTED_DEGREES = 0.1
# No tissue and no metal in the usual or the extended scale has other values.
_PLAUSIBLE_HU = (-1200, 20000)
_LISTED = 5


def report(found: Found, say: Callable[[str], None]) -> None:
    """Say what was found beside usable series."""
    aside = {"not DICOM": found.foreign, "localizers": found.localizers}
    for what, count in aside.items():
        if count:
            say(f"left out: {count} {what}")
    for verb, messages in (("left out", found.other), ("refused", found.refused)):
        for message in messages[:_LISTED]:
            say(f"{verb}: {message}")
        if len(messages) > _LISTED:
            say(f"{verb}: {len(messages) - _LISTED} more")


def check(one: Series, slices: int, *, repair_uids: bool) -> list[str]:
    """Refuse a series that cannot become a denoised one.

    Args:
        one: the series.
        slices: neighbouring slices that the network takes.
        repair_uids: whether missing UIDs will be made up.

    Returns:
        Warnings, one sentence each.

    Raises:
        DicomError: missing or repeated UIDs, or slices that are missing or unevenly spaced where
            the network takes neighbours.
    """
    _require_uids(one, repair_uids)
    warnings = [_uneven(one, slices), _tilted(one), _short(one, slices), *_files(one)]
    return [warning for warning in warnings if warning]


def implausible_pixels(image: Slice) -> int:
    """How many pixels within the scan have HU that nothing has."""
    low, high = _PLAUSIBLE_HU
    return int(np.count_nonzero((image.hu < low) | (image.hu > high)))


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
    steps = f"{min(one.steps_mm):g} to {max(one.steps_mm):g} mm"
    apart = [
        f"{place:g}"
        for place, step in zip(one.positions_mm, one.steps_mm, strict=False)
        if abs(step - min(one.steps_mm)) > _EVEN * min(one.steps_mm)
    ]
    where = f"after the positions {', '.join(apart[:5])} mm"
    if slices > 1:
        raise DicomError(
            f"{one.label}: steps between slices are {steps} ({where}), must be equal within 1 % "
            f"for a network that takes {slices} neighbours; find the missing slices or use a "
            "network of single slices"
        )
    return f"steps between slices are {steps} ({where}); each slice is denoised by itself"


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
    """What single files of the series are warned about."""
    programs = sum(dicom.has_executable_preamble(header.path) for header in one.headers)
    lossy = sum(header.lossy for header in one.headers)
    assumed = one.first.allowances
    counts = {
        f"{programs} files begin like a program; what is written begins with zeros": programs,
        f"{lossy} slices were once compressed with loss; the flag is kept": lossy,
        f"{one.duplicates} identical copies of slices left out": one.duplicates,
        "values are taken for HU as asked": assumed.assume_hu,
        "places may come from InstanceNumber as asked": assumed.order_by_instance,
    }
    return [sentence for sentence, count in counts.items() if count]
