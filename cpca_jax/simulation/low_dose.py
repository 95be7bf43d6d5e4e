"""Pairs whose low dose is simulated, from a full-dose scan or from a seed alone."""

import hashlib

import numpy as np

from cpca_jax.data.scan import Scan
from cpca_jax.data.store.manifest import SeriesInfo
from cpca_jax.errors import InputError, ScanError
from cpca_jax.simulation import physics
from cpca_jax.simulation.calibration import Calibration, calibrate
from cpca_jax.simulation.phantom import phantom
from cpca_jax.types import VolumeHU
from cpca_jax.units import whole_hu

# The distance and thickness of a phantom's slices, contiguous because their noise is independent.
INTERVAL_MM = 3.0


def lower_dose(
    full: VolumeHU, one: Scan, *, dose: float, seed: int
) -> tuple[VolumeHU, Calibration]:
    """Simulate a scan at a fraction of its dose, by a scanner fitted to its noise.

    Args:
        full: the scan, int16 HU (z y x).
        one: the scan from which it was read.
        dose: the share of the full dose.
        seed: the seed of the run; every series gets its own noise from it.

    Returns:
        The low dose, int16 HU (z y x), and the calibration of the scanner.

    Raises:
        ScanError: pixels or slices are not square, or the size of pixels is unknown.
    """
    if one.spacing_mm is None:
        raise ScanError(f"{one.label}: pixel spacing is unknown, must be known to simulate")
    y, x = one.spacing_mm
    if abs(y - x) > 1e-4 * y:
        raise ScanError(
            f"{one.label}: pixel spacing is {y:g}, {x:g}; both must be equal to simulate a dose"
        )
    own_seed = seed_of(seed, f"{one.label} {one.key}")
    try:
        fitted = calibrate(full, spacing_mm=y)
        noisy = physics.lower_dose(
            full.astype(np.float32), spacing_mm=y, dose=dose, seed=own_seed, scanner=fitted.scanner
        )
    except InputError as error:
        raise ScanError(f"{one.label}: {error}") from error
    return whole_hu(noisy), fitted


def phantom_pair(
    name: str,
    *,
    split: str,
    slices: int,
    size: int,
    dose: float,
    seed: int,
    interval_mm: float = INTERVAL_MM,
) -> tuple[SeriesInfo, VolumeHU, VolumeHU]:
    """Make a phantom and scan it at two doses.

    Args:
        name: the name of the series and of the patient.
        split: "train", "validation" or "test".
        slices: the number of slices.
        size: the number of rows and of columns.
        dose: the low dose as a share of the full dose.
        seed: the seed of the run; every name gets its own phantom from it.
        interval_mm: the distance and thickness of the slices, mm.

    Returns:
        The description of the series, its low dose and its full dose; both are int16 HU (z y x).
    """
    own_seed = seed_of(seed, name)
    made = phantom.make_phantom(own_seed, slices=slices, size=size, interval_mm=interval_mm)
    spacing_mm = made.spacing_mm
    full = physics.full_dose(made.truth_hu, spacing_mm=spacing_mm, seed=own_seed)
    low = physics.lower_dose(full, spacing_mm=spacing_mm, dose=dose, seed=own_seed)
    fields = ("z", "y", "x", "radius_mm", "contrast_hu")
    info = SeriesInfo(
        name=name,
        patient=name,
        split=split,
        kernel="simulated",
        thickness_mm=interval_mm,
        spacing_mm=(spacing_mm, spacing_mm),
        positions_mm=tuple(interval_mm * z for z in range(slices)),
        simulated=True,
        dose=dose,
        lesions=tuple({f: float(getattr(lesion, f)) for f in fields} for lesion in made.lesions),
    )
    return info, whole_hu(low), whole_hu(full)


def seed_of(seed: int, name: str) -> int:
    """Return a seed below 2**31 for a name, which does not depend on the other names."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4], "big") >> 1
