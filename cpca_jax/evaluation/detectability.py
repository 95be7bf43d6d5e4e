"""The detectability of known lesions in low dose, full dose and the output of each model."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Num

from cpca_jax.denoising.denoiser import Denoiser, denoise_volume
from cpca_jax.errors import ConfigError, InputError
from cpca_jax.evaluation.scoring import LOW_DOSE
from cpca_jax.metrics import observers
from cpca_jax.registry import pick
from cpca_jax.simulation.lesions import LesionTask, Place, extract_rois
from cpca_jax.simulation.matched_scans import MatchedScans, Scan
from cpca_jax.units import whole_hu

FULL_DOSE = "full dose"

RoiStack = Float[np.ndarray, "roi y x"]


@dataclasses.dataclass(frozen=True)
class DetectabilityRow:
    """The detectability of one lesion by one method.

    Attributes:
        method: "low dose", "full dose" or the name of the model.
        task: The lesion.
        found: The d' and AUC of the observer.
        gain: The d' minus that of low dose, reader by reader.
    """

    method: str
    task: LesionTask
    found: observers.Detectability
    gain: observers.Spread


def measure_detectability(
    models: Sequence[Denoiser],
    scans: Iterable[MatchedScans],
    *,
    channels: str = "laguerre-gauss",
    readers: int = 10,
    seed: int = 0,
    batch: int = 4,
) -> tuple[DetectabilityRow, ...]:
    """Measure d' and AUC of every method for every task, over all ROIs of all scans.

    Scans are taken one by one, so that they need not be in memory together. Denoised volumes are
    rounded to whole HU like the scans.

    Args:
        models: The denoisers to measure besides low and full dose.
        scans: Scans with the same tasks, pixel size and ROI size.
        channels: The channels of the observer, a name in `observers.CHANNELS`.
        readers: The number of random halves of the ROIs, the same ones for every method.
        seed: The seed of the random halves.
        batch: The number of slices denoised at once.

    Returns:
        The rows by task, then by method: low dose, full dose, models as given.

    Raises:
        ConfigError: The channels are unknown, or two methods have the same name.
        InputError: The scans do not fit together, or there are too few ROIs for the channels.
    """
    methods = _methods(models, batch)
    make_channels = pick(observers.CHANNELS, channels, "channels")
    rois, geometry = _collect(methods, scans)
    rows = []
    for task in dict.fromkeys(task for _, task in rois if task):
        table = make_channels(*geometry, task.radius_mm)
        found = {
            method: observers.observe(
                np.concatenate(rois[method, task]),
                np.concatenate(rois[method, None]),
                table,
                readers=readers,
                seed=seed,
            )
            for method in methods
        }
        rows += [
            DetectabilityRow(method, task, own, own.gain_over(found[LOW_DOSE]))
            for method, own in found.items()
        ]
    return tuple(rows)


# Returns a volume whose slices in the range are those of the method; the other slices are not used.
Method = Callable[[Scan, range], Num[np.ndarray, "z y x"]]


def _methods(models: Sequence[Denoiser], batch: int) -> dict[str, Method]:
    """Return each method by its name.

    Raises:
        ConfigError: Two methods have the same name.
    """
    methods: dict[str, Method] = {
        LOW_DOSE: lambda scan, wanted: scan.low,
        FULL_DOSE: lambda scan, wanted: scan.full,
    }
    for model in models:
        if model.name in methods:
            raise ConfigError(f"models: {model.name} is given twice; the model names its row")
        methods[model.name] = partial(_denoised, model, batch)
    return methods


def _denoised(model: Denoiser, batch: int, scan: Scan, wanted: range) -> Num[np.ndarray, "z y x"]:
    """Return the low-dose volume with its wanted slices denoised, in whole HU."""
    volume = scan.low.copy()
    denoised = denoise_volume(model, scan.low, batch=batch, chosen=wanted)
    volume[wanted.start : wanted.stop] = whole_hu(denoised)
    return volume


def _collect(
    methods: dict[str, Method], scans: Iterable[MatchedScans]
) -> tuple[dict[tuple[str, LesionTask | None], list[RoiStack]], tuple[int, float]]:
    """Return the ROIs by method and task (None: no lesion), and their edge and pixel size."""
    rois: dict[tuple[str, LesionTask | None], list[RoiStack]] = defaultdict(list)
    first: MatchedScans | None = None
    for matched in scans:
        first = first or matched
        _check_alike(first, matched)
        for task, scan, places in _parts(matched):
            slices = [place.z for place in places]
            wanted = range(min(slices), max(slices) + 1)
            for name, method in methods.items():
                part = extract_rois(method(scan, wanted), places, matched.places.roi_pixels)
                rois[name, task].append(part)
    if first is None:
        raise InputError("scans: none are given, must be one or more")
    return rois, (first.places.roi_pixels, first.spacing_mm)


def _parts(
    matched: MatchedScans,
) -> Iterator[tuple[LesionTask | None, Scan, tuple[Place, ...]]]:
    """Yield scans with the places of their ROIs; the scan without lesions serves all tasks."""
    yield None, matched.absent, matched.places.absent
    for task, scan in matched.present.items():
        yield task, scan, matched.places.present


def _check_alike(first: MatchedScans, other: MatchedScans) -> None:
    """Refuse scans that differ from the first in pixel size, ROI size or tasks."""
    for name, one, two in (
        ("pixel size in mm", first.spacing_mm, other.spacing_mm),
        ("ROI edge in pixels", first.places.roi_pixels, other.places.roi_pixels),
    ):
        if abs(one - two) > 1e-4 * one:
            raise InputError(f"scans: {name} is {two:g}, must be {one:g} as in the first")
    if list(first.present) != list(other.present):
        raise InputError("scans: a scan has other tasks than the first, must have the same")
