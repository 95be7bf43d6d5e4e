"""Detectability of lesions by method, from scans to rows."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from cpca_jax.denoising.denoiser import Denoiser, load_run
from cpca_jax.errors import ConfigError, InputError
from cpca_jax.evaluation import detectability
from cpca_jax.evaluation.detectability import DetectabilityRow, measure_detectability
from cpca_jax.simulation.lesions import LesionTask, Place, Places
from cpca_jax.simulation.matched_scans import MatchedScans, Scan, phantom_scans
from cpca_jax.units import Window

EASY, HARD = LesionTask(3.0, 20.0), LesionTask(3.0, 8.0)
EDGE = 19
METHODS = ["low dose", "full dose", "identity", "flat"]


class Flat(nn.Module):
    """A denoiser that removes all noise and every lesion."""

    slices = smallest_edge = 1
    dtype = jnp.float32

    @nn.compact
    def __call__(self, slab: jnp.ndarray) -> jnp.ndarray:
        return jnp.full_like(slab, 0.5)


FLAT = Denoiser("flat", Flat(), {}, Window(-1000, 1000))


def matched(seed: int, slices: int = 12) -> MatchedScans:
    """Return tissue of 40 HU with white noise, with 9 ROIs a slice, every second one with a disk."""
    random = np.random.default_rng(seed)
    middles = [EDGE // 2 + k * EDGE for k in range(3)]
    every = [Place(z, y, x) for z in range(slices) for y in middles for x in middles]
    places = Places(tuple(every[::2]), tuple(every[1::2]), EDGE)
    y, x = np.mgrid[: 3 * EDGE, : 3 * EDGE]

    def scan(contrast_hu: float) -> Scan:
        clean = np.full((slices, 3 * EDGE, 3 * EDGE), 40.0)
        for place in places.present:
            clean[place.z] += contrast_hu * (np.hypot(y - place.y, x - place.x) < 3)
        low, full = (clean + random.normal(0, sd, clean.shape) for sd in (40, 20))
        return Scan(np.rint(low).astype(np.int16), np.rint(full).astype(np.int16))

    present = {task: scan(task.contrast_hu) for task in (EASY, HARD)}
    return MatchedScans(scan(0.0), present, places, 1.0)


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, LesionTask], DetectabilityRow]:
    models = [load_run("identity"), FLAT]
    found = measure_detectability(models, (matched(seed) for seed in range(4)))
    assert [(row.method, row.task) for row in found] == [
        (method, task) for task in (EASY, HARD) for method in METHODS
    ]
    return {(row.method, row.task): row for row in found}


def test_detectability_follows_dose_and_contrast(rows) -> None:
    # A matched filter sees contrast sqrt(pixels) / noise, 25 pixels: 2.5 and 5, and 1 and 2.
    # Five channels of another shape see nearly as much.
    for task, method, ideal in (
        (EASY, "low dose", 2.5),
        (EASY, "full dose", 5.0),
        (HARD, "low dose", 1.0),
        (HARD, "full dose", 2.0),
    ):
        found = rows[method, task].found
        # 216 ROIs of each kind know d' to 0.1 to 0.25.
        assert 0.75 * ideal < found.d_prime.mean < 1.1 * ideal, (task, method)
        assert found.present == found.absent == 4 * 54
    gain = rows["full dose", EASY].gain
    assert 1.5 < gain.low < gain.mean < gain.high


def test_identity_is_low_dose_exactly(rows) -> None:
    for task in (EASY, HARD):
        row = rows["identity", task]
        assert row.found == rows["low dose", task].found
        assert dataclasses.astuple(row.gain) == (0, 0, 0)


def test_where_nothing_is_left_nothing_is_found(rows) -> None:
    found = rows["flat", EASY].found
    assert dataclasses.astuple(found.auc) == (0.5, 0.5, 0.5)
    assert dataclasses.astuple(found.d_prime) == (0, 0, 0)


def test_slices_are_denoised_with_their_neighbours_and_only_where_regions_lie() -> None:
    """The network returns the slice above."""

    class Above(nn.Module):
        slices, smallest_edge, dtype = 3, 1, jnp.float32

        @nn.compact
        def __call__(self, slab: jnp.ndarray) -> jnp.ndarray:
            return slab[:, 2:]

    above = Denoiser("above", Above(), {}, Window(-99, 999))
    volume = np.arange(9, dtype=np.int16)[:, None, None] * np.ones((1, 5, 5), np.int16)
    answer = detectability._denoised(above, 2, Scan(volume, volume), range(3, 6))
    assert answer[:, 0, 0].tolist() == [0, 1, 2, 4, 5, 6, 6, 7, 8]


def test_phantoms_have_neighbours_beyond_their_regions() -> None:
    options = {"phantoms": 1, "slices": 2, "size": 96, "rois": 12, "seed": 1, "interval_mm": 1.0}
    (scans,) = phantom_scans([LesionTask(3.0, -30.0)], **options, margin=3)
    assert scans.absent.low.shape == (8, 96, 96)
    assert {place.z for place in (*scans.places.present, *scans.places.absent)} <= {3, 4}


def test_methods_and_channels_are_told_apart_by_name() -> None:
    with pytest.raises(ConfigError, match="identity is given twice"):
        measure_detectability([load_run("identity")] * 2, [matched(1)])
    with pytest.raises(ConfigError, match="'gabbor' is not one of laguerre-gauss, dense"):
        measure_detectability([], [matched(1)], channels="gabbor")


def test_scans_must_fit_together() -> None:
    one = matched(1, slices=2)
    with pytest.raises(InputError, match="none are given, must be one or more"):
        measure_detectability([], [])
    for other, said in (
        (dataclasses.replace(one, spacing_mm=0.7), "pixel size in mm is 0.7, must be 1"),
        (
            dataclasses.replace(one, places=dataclasses.replace(one.places, roi_pixels=17)),
            "ROI edge in pixels is 17, must be 19",
        ),
        (dataclasses.replace(one, present={EASY: one.absent}), "other tasks"),
    ):
        with pytest.raises(InputError, match=said):
            measure_detectability([], [one, other])


def test_too_few_rois_say_so() -> None:
    with pytest.raises(InputError, match="9 ROIs with and 9 without the lesion; 16 channels"):
        measure_detectability([], [matched(1, slices=2)], channels="gabor")
