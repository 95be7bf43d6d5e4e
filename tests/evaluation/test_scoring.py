"""Volumes as they are denoised and scored."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
from skimage.metrics import peak_signal_noise_ratio

from cpca_jax.data.store.reader import open_store
from cpca_jax.denoising.denoiser import Denoiser, denoise_volume
from cpca_jax.errors import InputError
from cpca_jax.evaluation import scoring
from cpca_jax.metrics.protocols import PROTOCOLS
from cpca_jax.models import build_generator
from cpca_jax.training.networks import Networks, PatchGeometry, init_generator
from cpca_jax.units import Window
from cpca_jax.weights import feature_network

WINDOW = Window(-300, 300)


def trained(slices, name="a model"):
    module = build_generator("cpca", slices=slices, features=4)
    networks = Networks(module, None, PatchGeometry(slices, 20))
    return Denoiser(name, module, init_generator(networks, jax.random.key(1))[0], WINDOW)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    root = tiny.write_store(tmp_path_factory.mktemp("evaluation") / "store")
    return open_store(root).split("test")[0]


@pytest.mark.parametrize("slices", [1, 3, 5])
def test_the_batch_makes_no_difference(series, slices):
    model = trained(slices)
    whole = denoise_volume(model, series.low, batch=7)
    for batch in (1, 3, 16):
        parts = denoise_volume(model, series.low, batch=batch)
        np.testing.assert_allclose(parts, whole, atol=1e-2)


def test_a_slice_is_made_from_its_neighbours_and_ends_are_replicated(series):
    model = trained(3)
    volume = np.asarray(series.low)
    got = denoise_volume(model, volume)
    padded = np.concatenate([volume[:1], volume, volume[-1:]])
    for z in (0, 3, len(volume) - 1):
        window = WINDOW.normalise(padded[z : z + 3])[None, ..., None]
        want = WINDOW.to_hu(model.module.apply(model.variables, window)[0, 0, ..., 0])
        clipped = volume[z] - np.clip(volume[z], -300, 300)
        np.testing.assert_allclose(got[z], want + clipped, atol=1e-2)


def test_outside_the_window_hu_are_restored_or_clipped(series):
    model = trained(1)
    volume = np.asarray(series.low).copy()
    volume[2, 20, 20] = 3000
    restored = denoise_volume(model, volume)
    clipped = denoise_volume(model, volume, outside="clip")
    assert restored[2, 20, 20] == pytest.approx(clipped[2, 20, 20] + 2700, abs=1e-2)
    inside = (volume > -300) & (volume < 300)
    np.testing.assert_allclose(restored[inside], clipped[inside], atol=1e-3)


def test_slices_too_small_for_the_network_are_refused():
    with pytest.raises(InputError, match=r"slices of \(8, 40\); a model needs 9 or more"):
        denoise_volume(trained(1), np.zeros((2, 8, 40), np.int16))


@pytest.mark.parametrize("shape", [(17, 23), (41, 30)])
def test_any_slice_size_works(shape):
    volume = np.random.default_rng(0).integers(-100, 100, (2, *shape)).astype(np.int16)
    assert denoise_volume(trained(1), volume).shape == volume.shape


def test_scores_are_of_the_slices_they_name(series):
    protocol = PROTOCOLS["deck"]
    features = feature_network.load_feature_network("random", tap="relu1_2")
    seen = list(scoring.evaluate_series([trained(3)], series, protocol, features, batch=3))
    rows = [row for part, _ in seen for row in part]
    assert len(rows) == 2 * tiny.SLICES
    for row in rows:
        if row.method == scoring.LOW_DOSE:
            a, b = (
                np.asarray(WINDOW.normalise(v[row.slice]), np.float64)
                for v in (series.full, series.low)
            )
            want = peak_signal_noise_ratio(a, b, data_range=1.0)
            assert row.scores["psnr"] == pytest.approx(want, rel=1e-6)
            assert row.scores["perceptual"] > 0
    means = scoring.mean_scores(rows)
    assert list(means) == [scoring.LOW_DOSE, "a model"]


def test_scored_slices_equal_the_denoised_volume(series):
    model, features = trained(5), feature_network.load_feature_network("random", tap="relu1_2")
    volume = denoise_volume(model, series.low, outside="clip")
    parts = scoring.evaluate_series(
        [model], series, PROTOCOLS["deck"], features, batch=2, chosen=range(2, 6)
    )
    got = np.concatenate([images["a model"] for _, images in parts])
    np.testing.assert_allclose(got, volume[2:6], atol=1e-2)


def test_the_middle_of_a_series(series):
    assert scoring.middle(series, 3) == range(2, 5)
    assert scoring.middle(series, 0) == scoring.middle(series, 99) == range(7)


def test_across_a_gap_there_are_no_neighbours(series):
    """At a missing slice, a 3D network replicates the ends instead of mixing both sides."""
    positions = tuple(p + (2.0 if k > 3 else 0.0) for k, p in enumerate(series.positions_mm))
    gap = dataclasses.replace(series, positions_mm=positions)
    model, features = trained(3), feature_network.load_feature_network("random", tap="relu1_2")
    parts = list(scoring.evaluate_series([model], gap, PROTOCOLS["deck"], features, batch=4))
    got = np.concatenate([images["a model"] for _, images in parts])
    want = [
        denoise_volume(model, series.low[part], outside="clip")
        for part in (slice(0, 4), slice(4, 7))
    ]
    np.testing.assert_allclose(got, np.concatenate(want), atol=1e-2)
    assert [row.slice for rows, _ in parts for row in rows if row.method == "a model"] == [
        *range(7)
    ]
