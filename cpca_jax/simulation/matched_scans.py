"""Scans of one background with and without known lesions, at full and at a lower dose.

Lesions are inserted before the dose is lowered, so that the added noise and every denoiser meet
them. Volumes are (z y x) in HU.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Num

from cpca_jax.simulation import physics
from cpca_jax.simulation.lesions import (
    LesionTask,
    Limits,
    Places,
    choose_places,
    insert_lesions,
    roi_edge,
)
from cpca_jax.simulation.low_dose import INTERVAL_MM, seed_of
from cpca_jax.simulation.phantom import phantom
from cpca_jax.types import VolumeHU
from cpca_jax.units import whole_hu

# A phantom has no noise, so that only organs with their texture are this even.
_PHANTOM_LIMITS = Limits(sd_hu=15.0, gradient_hu_per_mm=4.0)


@dataclasses.dataclass(frozen=True)
class Background:
    """A volume into which lesions are inserted.

    Attributes:
        volume_hu: the noiseless volume, or a full-dose scan, HU.
        spacing_mm: the pixel size, mm.
        interval_mm: the distance between two slices, mm.
        noiseless: whether the noise of the full dose is still to be added.
    """

    volume_hu: Num[np.ndarray, "z y x"]
    spacing_mm: float
    interval_mm: float
    noiseless: bool


@dataclasses.dataclass(frozen=True)
class Scan:
    """One scan at two doses, in whole HU as a store holds them."""

    low: VolumeHU
    full: VolumeHU


@dataclasses.dataclass(frozen=True)
class MatchedScans:
    """Scans of one background without lesions and with those of each task.

    Attributes:
        absent: the scan without lesions.
        present: the scans with a lesion at every present place, by task.
        places: the places of the ROIs.
        spacing_mm: the pixel size, mm.
    """

    absent: Scan
    present: Mapping[LesionTask, Scan]
    places: Places
    spacing_mm: float


def matched_scans(
    background: Background,
    tasks: Sequence[LesionTask],
    places: Places,
    *,
    dose: float,
    seed: int,
    scanner: physics.Scanner = physics.DEFAULT_SCANNER,
) -> MatchedScans:
    """Simulate scans without lesions and with those of each task, with independent noise.

    A full-dose background keeps its own noise in all of them, and only the noise that the lower
    dose adds is drawn anew; ROIs at different places are independent nevertheless.

    Args:
        background: the volume that is scanned.
        tasks: the lesions; each gets one scan, with the lesion at all present places.
        places: the places in the background.
        dose: the low dose as a share of the full dose.
        seed: the seed from which every scan gets its own noise.
        scanner: the scanner.

    Raises:
        InputError: a dose outside (0, 1], slices that are not square, or a pixel size that is
            not positive.
    """

    def scan(volume_hu: Num[np.ndarray, "z y x"], name: str) -> Scan:
        own, spacing = seed_of(seed, name), background.spacing_mm
        full = volume_hu.astype(np.float32)
        if background.noiseless:
            full = physics.full_dose(full, spacing_mm=spacing, seed=own, scanner=scanner)
        low = physics.lower_dose(full, spacing_mm=spacing, dose=dose, seed=own, scanner=scanner)
        return Scan(whole_hu(low), whole_hu(full))

    def insert(task: LesionTask) -> Num[np.ndarray, "z y x"]:
        return insert_lesions(
            background.volume_hu,
            task,
            places.present,
            spacing_mm=background.spacing_mm,
            interval_mm=background.interval_mm,
        )

    present = {task: scan(insert(task), str(task)) for task in tasks}
    absent = scan(background.volume_hu, "absent")
    return MatchedScans(absent, present, places, background.spacing_mm)


def phantom_scans(
    tasks: Sequence[LesionTask],
    *,
    phantoms: int,
    slices: int,
    size: int,
    rois: int,
    dose: float = 0.25,
    seed: int,
    interval_mm: float = INTERVAL_MM,
    margin: int = 0,
    scanner: physics.Scanner = physics.DEFAULT_SCANNER,
) -> Iterator[MatchedScans]:
    """Yield matched scans of phantoms, one phantom after the other.

    Args:
        tasks: the lesions to be found.
        phantoms: the number of phantoms.
        slices: the number of slices of each phantom in which ROIs lie.
        size: the number of rows and of columns.
        rois: the number of ROIs of each phantom, with and without a lesion together; fewer where
            there is no room.
        dose: the low dose as a share of the full dose.
        seed: the seed of the study; it shares no phantom with pairs of the same seed.
        interval_mm: the distance between slices, mm, as in the pairs used for training.
        margin: the number of slices above and below those with ROIs, so that a 3D network has true
            neighbours.
        scanner: the scanner.
    """
    for number in range(phantoms):
        own = seed_of(seed, f"detectability {number}")
        made = phantom.make_phantom(
            own, slices=slices + 2 * margin, size=size, interval_mm=interval_mm
        )
        spacing = made.spacing_mm
        largest = max(task.radius_mm for task in tasks)
        places = choose_places(
            made.truth_hu,
            spacing_mm=spacing,
            roi_pixels=roi_edge(tasks, spacing_mm=spacing),
            count=rois,
            seed=own,
            slices_apart=int(largest / made.interval_mm),
            margin=margin,
            limits=_PHANTOM_LIMITS,
        )
        background = Background(made.truth_hu, spacing, made.interval_mm, noiseless=True)
        yield matched_scans(background, tasks, places, dose=dose, seed=own, scanner=scanner)
