"""Pairs of the two dose levels of one scan, and splits of the patients.

The AAPM-Mayo files have the same dose tags in both levels, so the name of the folder decides the
level (`folders.dose_level`), and the pixels must confirm it (`doses`). Slices are matched by
position, never by file name or by order.
"""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from cpca_jax.data import folders
from cpca_jax.data.scan import SAME_PLACE_MM, Scan
from cpca_jax.errors import ConfigError, ScanError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
_HELD_OUT_SHARE = 0.15


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two dose levels of one scan, slice by slice at the same places.

    Attributes:
        full: the full dose.
        low: the low dose.
    """

    full: Scan
    low: Scan

    @property
    def label(self) -> str:
        """The pair in messages: patient key, kernel, thickness."""
        return self.full.label


def find_pairs(scans: Sequence[Scan]) -> tuple[tuple[Pair, ...], list[str]]:
    """Match the dose levels by patient, kernel, thickness and geometry.

    Args:
        scans: all scans of a collection.

    Returns:
        The pairs, and a message for each scan or group that has no partner.
    """
    groups: dict[tuple[str, str, float], list[Scan]] = defaultdict(list)
    for one in scans:
        groups[one.patient, one.kernel, round(one.thickness_mm, 3)].append(one)
    pairs: list[Pair] = []
    refused: list[str] = []
    for key in sorted(groups):
        try:
            pairs.extend(_pairs_of_group(groups[key]))
        except ScanError as error:
            refused.append(str(error))
    return tuple(pairs), refused


def check_geometry(full: Scan, low: Scan) -> None:
    """Refuse two scans that are not the same slices.

    Raises:
        ScanError: matrix, pixel spacing, orientation, positions or in-plane origin differ.
    """
    label = full.label
    if full.shape[1:] != low.shape[1:]:
        raise ScanError(
            f"{label}: rows and columns are {full.shape[1:]} in the full and {low.shape[1:]} in "
            "the low dose, must be equal"
        )
    if not _same_spacing(full.spacing_mm, low.spacing_mm):
        raise ScanError(
            f"{label}: pixel spacing is {full.spacing_mm} in the full and {low.spacing_mm} "
            "in the low dose, must be equal"
        )
    if full.placement != low.placement:
        raise ScanError(
            f"{label}: positions are {full.placement} in the full and {low.placement} in the low "
            "dose, must be alike"
        )
    one, other = full.frame, low.frame
    if one and other and not np.allclose(one.orientation, other.orientation, rtol=0, atol=1e-4):
        raise ScanError(f"{label}: orientation differs between the dose levels, must be equal")
    _require_partners(full, low)
    if one and other:
        apart = np.subtract(one.origins_mm, other.origins_mm)
        shift = float(np.linalg.norm(apart, axis=1).max())
        if shift > 2 * SAME_PLACE_MM:
            raise ScanError(
                f"{label}: slices lie {shift:g} mm apart in the two dose levels, must lie at the "
                "same place"
            )


def split_patients(
    patients: Sequence[str],
    *,
    test: Sequence[str] = (),
    validation: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, str]:
    """Give every patient one split, so that none can be in two.

    Without lists, 15 % are for test and 15 % for validation (rounded, at least one patient
    each), and the rest for training, in an order that depends on the seed and the names alone.
    A single patient is for training; two are for training and test; three are one of each.
    Lists are used as they stand, and all other patients are for training.

    Args:
        patients: all patients; repetitions do not count.
        test: the patients to test on.
        validation: the patients to validate on.
        seed: the seed of the order.

    Returns:
        The split of each patient: "train", "validation" or "test".

    Raises:
        ConfigError: a listed patient is unknown, or is in both lists.
    """
    known = sorted(set(patients))
    for name, listed in ((TEST, test), (VALIDATION, validation)):
        unknown = sorted(set(listed) - set(known))
        if unknown:
            raise ConfigError(
                f"--{name}: {unknown[0]} is not a patient, must be among {', '.join(known)}"
            )
    both = sorted(set(test) & set(validation))
    if both:
        raise ConfigError(f"--{TEST} and --{VALIDATION}: {both[0]} is in both, must be in one")
    splits = dict.fromkeys(known, TRAIN) | dict.fromkeys(test, TEST)
    splits |= dict.fromkeys(validation, VALIDATION)
    left = sorted((p for p in known if splits[p] == TRAIN), key=lambda p: _order(seed, p))
    share = max(1, int(_HELD_OUT_SHARE * len(known) + 0.5))
    for name in (TEST, VALIDATION):
        taken = 0 if test or validation else min(share, len(left) - 1)
        splits |= dict.fromkeys(left[: max(taken, 0)], name)
        left = left[max(taken, 0) :]
    return splits


def _order(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()


def _pairs_of_group(group: Sequence[Scan]) -> list[Pair]:
    """Return the pairs among all scans of one patient, kernel and thickness."""
    label = group[0].label
    fulls = [one for one in group if one.dose_level == folders.FULL]
    lows = [one for one in group if one.dose_level == folders.LOW]
    if not fulls or not lows:
        missing = "full" if lows else "low" if fulls else "full or low"
        raise ScanError(
            f"{label}: no {missing} dose level among {len(group)} series, must lie in folders "
            f"named like {missing.split()[0]}_3mm or '{missing.split()[0]} dose images'"
        )
    if len(fulls) == len(lows) == 1:
        check_geometry(fulls[0], lows[0])
        return [Pair(fulls[0], lows[0])]
    fitting = [(f, q) for f in fulls for q in lows if _fits(f, q)]
    alone = {id(f) for f, _ in fitting}, {id(q) for _, q in fitting}
    if not len(fitting) == len(fulls) == len(lows) == len(alone[0]) == len(alone[1]):
        raise ScanError(
            f"{label}: {len(fulls)} full-dose and {len(lows)} low-dose series in "
            f"{len(fitting)} combinations of equal geometry, must be one to one"
        )
    return [Pair(f, q) for f, q in fitting]


def _fits(full: Scan, low: Scan) -> bool:
    try:
        check_geometry(full, low)
    except ScanError:
        return False
    return True


def _same_spacing(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    if one is None or other is None:
        return one == other
    return np.allclose(one, other, rtol=1e-4, atol=0)


def _require_partners(full: Scan, low: Scan) -> None:
    lone_full = _without_partner(full, low)
    lone_low = _without_partner(low, full)
    if lone_full or lone_low:
        places = ", ".join(f"{place:g}" for place in (lone_full + lone_low)[:3])
        unit = " mm" if full.placement == "measured" else ""
        raise ScanError(
            f"{full.label}: {len(lone_full)} of {full.shape[0]} full-dose and "
            f"{len(lone_low)} of {low.shape[0]} low-dose slices have no "
            f"partner at their position (first: {places}{unit}), must have one each"
        )


def _without_partner(one: Scan, other: Scan) -> list[float]:
    """Return the positions of slices where `other` has no slice."""
    theirs = np.asarray(other.positions_mm)
    nearest = [float(np.min(np.abs(theirs - place))) for place in one.positions_mm]
    return [p for p, d in zip(one.positions_mm, nearest, strict=True) if d > SAME_PLACE_MM]
