"""PSNR and SSIM against scikit-image, for every protocol's settings."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cpca_jax.errors import ConfigError
from cpca_jax.metrics import METRICS, Compared, image
from cpca_jax.metrics.protocols import PROTOCOLS, get_protocol


def scores(protocol, prediction_hu, target_hu):
    """Every metric but the perceptual one, whose features these tests need not."""
    none = jnp.zeros((len(target_hu), 1, 1, 1))
    normalise = protocol.window.normalise
    compared = Compared(normalise(prediction_hu), normalise(target_hu), protocol, none, none)
    return {name: metric.function(compared) for name, metric in METRICS.items()}


def slices(seed, count=3, size=96):
    """Return full and low dose of a made-up slice in HU: air, tissue, a bright rim, noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    radius = np.hypot(y, 1.2 * x)
    clean = np.where(radius < 0.42, 60.0 + 80 * np.sin(20 * x) * np.cos(14 * y), -1000.0)
    clean = np.where((radius > 0.38) & (radius < 0.42), 700.0, clean)
    noise = random.normal(0, 30, (2, count, size, size))
    full = clean + noise[0] / 2
    return full.astype(np.float32), (full + noise[1]).astype(np.float32)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_agrees_with_scikit_image(name):
    protocol = PROTOCOLS[name]
    full, low = slices(1)
    got = jax.jit(partial(scores, protocol))(low, full)
    kind = protocol.ssim
    for k in range(len(full)):
        a, b = (np.asarray(protocol.window.normalise(v[k]), np.float64) for v in (full, low))
        psnr = peak_signal_noise_ratio(a, b, data_range=1.0)
        ssim = structural_similarity(
            a,
            b,
            data_range=kind.data_range,
            gaussian_weights=kind.weights == "gaussian",
            sigma=kind.sigma,
            win_size=None if kind.weights == "gaussian" else kind.size,
            use_sample_covariance=kind.sample_covariance,
        )
        np.testing.assert_allclose(got["psnr"][k], psnr, rtol=1e-6)
        np.testing.assert_allclose(got["ssim"][k], ssim, atol=1e-6)
        rmse = np.sqrt(np.mean((a - b) ** 2)) * protocol.window.width
        np.testing.assert_allclose(got["rmse_hu"][k], rmse, rtol=1e-5)
        inside = (full[k] > protocol.window.low) & (full[k] < protocol.window.high)
        bias = np.mean((b - a)[inside]) * protocol.window.width
        np.testing.assert_allclose(got["bias_hu"][k], bias, rtol=1e-4, atol=1e-3)


def test_ssim_keeps_its_digits_far_from_zero():
    """Nearly flat images with a large mean: variances must not drown in float32."""
    random = np.random.default_rng(3)
    a = (0.9 + 1e-3 * random.normal(size=(1, 64, 64))).astype(np.float32)
    b = (a + 1e-3 * random.normal(size=a.shape)).astype(np.float32)
    want = structural_similarity(a[0].astype(float), b[0].astype(float), data_range=1.0)
    np.testing.assert_allclose(image.ssim(a, b, data_range=1.0)[0], want, atol=1e-6)


def test_channel_axis_makes_no_difference():
    a, b = (v / 1000 for v in slices(2))
    for metric in (image.psnr, image.ssim):
        plain = metric(a, b, data_range=1.0)
        np.testing.assert_array_equal(metric(a[..., None], b[..., None], data_range=1.0), plain)


def test_bias_has_the_sign_of_the_error_and_leaves_clipped_pixels_out():
    target = np.full((1, 4, 4), 0.5, np.float32)
    target[0, :2] = [[0.0], [1.0]]
    too_dark = np.where(target == 0.5, 0.4, target + 0.3).astype(np.float32)
    np.testing.assert_allclose(image.bias(too_dark, target), [-0.1], rtol=1e-5)
    np.testing.assert_array_equal(image.bias(too_dark, np.zeros_like(target)), [0.0])


def test_psnr_follows_its_range():
    a, b = slices(4)
    gain = image.psnr(a, b, data_range=20.0) - image.psnr(a, b, data_range=2.0)
    np.testing.assert_allclose(gain, 20.0, rtol=1e-5)


def test_equal_images_have_ssim_one():
    a, _ = slices(5)
    np.testing.assert_allclose(image.ssim(a, a, data_range=600.0), 1.0, atol=1e-6)


def test_the_data_range_has_no_default():
    with pytest.raises(TypeError, match="data_range"):
        image.psnr(*slices(6))


def test_an_unknown_protocol_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="'dek' is not one of deck, deck-range1"):
        get_protocol("dek")


def test_the_decks_ssim_range_of_two_is_kept_apart_from_the_right_one():
    full, low = slices(7)
    deck, right = (scores(PROTOCOLS[n], low, full)["ssim"] for n in ("deck", "deck-range1"))
    assert (deck > right + 0.01).all()
