"""The channelised Hotelling observer against closed forms."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import scipy.special

from cpca_jax.errors import InputError
from cpca_jax.metrics.observers import (
    CHANNELS,
    area_under_curve,
    d_prime,
    observe,
    respond,
    template,
)

EDGE, PIXEL_MM, RADIUS_MM = 21, 1.0, 4.0
LG = CHANNELS["laguerre-gauss"](EDGE, PIXEL_MM, RADIUS_MM)


def white(seed: int, count: int, sd: float = 10.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sd, (count, EDGE, EDGE))


def channel_signal(strength: float) -> np.ndarray:
    """Return a signal of a given norm that the channels can make, with its mean removed."""
    signal = (LG - LG.mean(axis=0)) @ np.array([1.0, 0.5, -0.3, 0.2, 0.1])
    return (strength * signal / np.linalg.norm(signal)).reshape(EDGE, EDGE)


def normal_auc(index: float) -> float:
    """Return Phi(d'/sqrt 2)."""
    return float(scipy.special.ndtr(index / math.sqrt(2)))


def test_white_noise_gives_the_norm_of_the_signal_over_the_noise() -> None:
    signal = channel_signal(15.0)
    found = observe(white(1, 3000) + signal, white(2, 3000), LG)
    # 3000 each know d' of 1.5 to 0.03; training on 1500 costs 5 channels under 0.01.
    assert found.d_prime.mean == pytest.approx(1.5, abs=0.09)
    assert found.auc.mean == pytest.approx(normal_auc(1.5), abs=0.02)
    assert found.d_prime.low < 1.5 < found.d_prime.high
    assert (found.present, found.absent, len(found.aucs)) == (3000, 3000, 10)


def test_a_signal_outside_the_channels_is_not_seen() -> None:
    random = np.random.default_rng(5).normal(size=EDGE**2)
    centred = LG - LG.mean(axis=0)
    basis, _ = np.linalg.qr(np.column_stack([centred, np.ones(EDGE**2)]))
    outside = random - basis @ (basis.T @ random)
    signal = (40 * outside / np.linalg.norm(outside)).reshape(EDGE, EDGE)
    found = observe(white(1, 2000) + signal, white(2, 2000), LG)
    assert abs(found.d_prime.mean) < 0.1


@pytest.mark.parametrize("name", CHANNELS)
def test_coloured_noise_gives_the_channels_analytic_index(name: str) -> None:
    channels = CHANNELS[name](EDGE, PIXEL_MM, RADIUS_MM)
    sd, blur = 30.0, 1.0
    random = np.random.default_rng(3)

    def coloured(count: int) -> np.ndarray:
        noise = random.normal(0, sd, (count, EDGE, EDGE))
        return scipy.ndimage.gaussian_filter(noise, (0, blur, blur), mode="wrap")

    y, x = np.mgrid[:EDGE, :EDGE] - EDGE // 2
    signal = 6.0 * (np.hypot(y, x) < RADIUS_MM)
    # The blur as a matrix: columns are what it makes of single pixels.
    pixels = np.eye(EDGE**2).reshape(-1, EDGE, EDGE)
    spread = scipy.ndimage.gaussian_filter(pixels, (0, blur, blur), mode="wrap")
    basis = scipy.linalg.orth(channels - channels.mean(axis=0), rcond=1e-9)
    noise_part = spread.reshape(EDGE**2, -1) @ basis
    seen = signal.ravel() @ basis
    wanted = math.sqrt(seen @ np.linalg.solve(sd**2 * noise_part.T @ noise_part, seen))
    assert 0.8 < wanted < 4
    found = observe(coloured(2500) + signal, coloured(2500), channels)
    # Sampling error 0.03 to 0.05; 16 channels trained on 1250 cost 1 %.
    assert found.d_prime.mean == pytest.approx(wanted, abs=0.14)
    assert found.auc.mean == pytest.approx(normal_auc(wanted), abs=0.03)


def test_no_signal_is_guessed() -> None:
    found = observe(white(1, 400), white(2, 400), LG, readers=20)
    # The halves' error of the AUC is sqrt(1 / (6 n)) = 0.029 for n = 200 test ROIs each.
    assert found.auc.mean == pytest.approx(0.5, abs=0.06)
    assert found.auc.low < 0.5 < found.auc.high
    assert abs(found.d_prime.mean) < 0.2


def test_the_mean_of_an_roi_says_nothing() -> None:
    signal = channel_signal(15.0)
    present, absent = white(1, 200) + signal, white(2, 200)
    plain = observe(present, absent, LG)
    levels = np.random.default_rng(1).normal(0, 500, (2, 200, 1, 1))
    shifted = observe(present + levels[0], absent + levels[1] + 300, LG)
    assert shifted.d_primes == pytest.approx(plain.d_primes, rel=1e-9)


def test_the_order_of_images_does_not_matter() -> None:
    present, absent = white(1, 300) + channel_signal(10.0), white(2, 300)
    order = np.random.default_rng(1).permutation(300)
    one, two = respond(present, LG), respond(absent, LG)
    np.testing.assert_allclose(template(one[order], two), template(one, two), rtol=1e-9)
    weights = template(one, two)
    shuffled = one[order] @ weights, two @ weights
    assert d_prime(*shuffled) == pytest.approx(d_prime(one @ weights, two @ weights), rel=1e-9)
    assert area_under_curve(*shuffled) == area_under_curve(one @ weights, two @ weights)
    # Other halves, but of the same ROIs: means over readers differ by a part of their spread.
    first, again = (observe(p, absent, LG, readers=40) for p in (present, present[order]))
    assert again.d_prime.mean == pytest.approx(first.d_prime.mean, abs=0.06)


def test_test_rois_are_none_of_the_training() -> None:
    # As many channels as ROIs nearly: judged on its own training, noise would look like signal.
    dense = CHANNELS["gabor"](EDGE, PIXEL_MM, RADIUS_MM)
    present, absent = white(1, 40), white(2, 40)
    one, two = respond(present, dense), respond(absent, dense)
    weights = template(one, two)
    # Measured: 0.9.
    assert d_prime(one @ weights, two @ weights) > 0.7
    assert abs(observe(present, absent, dense, readers=20).d_prime.mean) < 0.5


def test_scores_by_hand() -> None:
    present, absent = np.array([2.0, 4.0]), np.array([0.0, 2.0])
    # Means 3 and 1, both variances 2.
    assert d_prime(present, absent) == pytest.approx(2 / math.sqrt(2))
    # Of four pairs three are above and one is a tie.
    assert area_under_curve(present, absent) == 3.5 / 4
    assert area_under_curve(absent, present) == 0.5 / 4
    assert area_under_curve(np.ones(3), np.ones(5)) == 0.5
    assert d_prime(np.ones(3), np.ones(3)) == 0
    assert d_prime(np.ones(3), np.zeros(3)) == math.inf


def test_the_template_by_hand() -> None:
    # Variances 2 and 8 with the lesion, 4 and 0 without: 3 and 4 on average, no covariance.
    present = np.array([[1.0, 2], [-1, 2], [1, -2], [-1, -2]]) * math.sqrt(1.5) + [6, 8]
    absent = np.array([[1.0, 0], [-1, 0], [1, 0], [-1, 0]]) * math.sqrt(3)
    np.testing.assert_allclose(np.var(present, axis=0, ddof=1), [2, 8])
    np.testing.assert_allclose(np.var(absent, axis=0, ddof=1), [4, 0])
    np.testing.assert_allclose(template(present, absent), [6 / 3, 8 / 4])


def test_readers_of_two_methods_share_their_halves() -> None:
    present, absent = white(1, 200) + channel_signal(15.0), white(2, 200)
    sharp, doubled = (observe(k * present, k * absent, LG) for k in (1.0, 2.0))
    gain = doubled.gain_over(sharp)
    assert abs(gain.mean) < 1e-9
    assert gain.high - gain.low < 1e-9
    other = observe(present, absent, LG, seed=1)
    assert other.d_primes != sharp.d_primes
    assert observe(present, absent, LG).d_primes == sharp.d_primes


def test_the_spread_over_readers_is_the_error_of_the_study() -> None:
    signal = channel_signal(12.0)
    studies = [
        observe(white(2 * k, 120) + signal, white(2 * k + 1, 120), LG, readers=20)
        for k in range(150)
    ]
    means = np.array([study.d_prime.mean for study in studies])
    reach = np.array([(s.d_prime.high - s.d_prime.low) / 2 / 1.96 for s in studies])
    # Measured with 200 studies: 0.92; 150 know it to 0.06.
    assert 0.75 < reach.mean() / means.std() < 1.1


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("laguerre-gauss", 5),
        ("dense difference of gaussians", 10),
        ("sparse difference of gaussians", 3),
        ("gabor", 16),
    ],
)
def test_channels_are_unit_columns(name: str, count: int) -> None:
    for edge in (32, 33):
        channels = CHANNELS[name](edge, 0.75, 5.0)
        assert channels.shape == (edge**2, count)
        np.testing.assert_allclose(np.linalg.norm(channels, axis=0), 1)
        # The same from both sides.
        images = channels.T.reshape(count, edge, edge)
        np.testing.assert_allclose(images, images[:, ::-1, ::-1], atol=1e-12)


def test_laguerre_gauss_channels_are_orthogonal_and_as_wide_as_the_lesion() -> None:
    channels = CHANNELS["laguerre-gauss"](101, 0.5, 4.5)
    np.testing.assert_allclose(channels.T @ channels, np.eye(5), atol=0.02)
    # The first falls to exp(-pi) at h, 2/3 of the diameter: 6 mm or 12 pixels.
    first = channels[:, 0].reshape(101, 101)[50, 50:]
    assert first[12] / first[0] == pytest.approx(math.exp(-math.pi), rel=1e-9)


def test_difference_of_gaussians_have_their_spectrum() -> None:
    edge = 256
    frequency = np.fft.fftfreq(edge)
    square = frequency[:, None] ** 2 + frequency**2
    # A channel whose image fits into the ROI, and whose spectrum fits below Nyquist.
    image = CHANNELS["sparse difference of gaussians"](edge, 1.0, 5.0)[:, 1].reshape(edge, edge)
    spectrum = np.abs(np.fft.fft2(image))
    wanted = np.exp(-square / (2 * 0.06**2)) - np.exp(-square / (2 * 0.03**2))
    np.testing.assert_allclose(spectrum / spectrum.max(), wanted / wanted.max(), atol=1e-3)


def test_gabor_channels_have_their_frequency_and_angle() -> None:
    edge = 256
    channels = CHANNELS["gabor"](edge, 1.0, 5.0)
    frequency = np.fft.fftfreq(edge)
    for column, (down, across) in {0: (0, 0.09375), 2: (0.09375, 0), 4: (0, 0.046875)}.items():
        spectrum = np.abs(np.fft.fft2(channels[:, column].reshape(edge, edge)))
        y, x = np.unravel_index(spectrum.argmax(), spectrum.shape)
        assert abs(frequency[y]) == pytest.approx(down, abs=1 / edge)
        assert abs(frequency[x]) == pytest.approx(across, abs=1 / edge)
        # Half of the peak at both ends of the octave: amplitude exp(-ln 2).
        line = spectrum[0] if across else spectrum[:, 0]
        middle = down + across
        ends = np.interp(
            [middle * 2 / 3, middle * 4 / 3], frequency[: edge // 2], line[: edge // 2]
        )
        np.testing.assert_allclose(ends / spectrum.max(), 0.5, atol=0.03)


def test_too_few_rois_are_refused_with_a_sentence() -> None:
    with pytest.raises(InputError) as raised:
        observe(white(1, 13), white(2, 40), LG)
    assert str(raised.value) == (
        "13 ROIs with and 40 without the lesion; 5 channels need at least 14 of each"
    )
    assert observe(white(1, 14), white(2, 14), LG).present == 14


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="present: ROIs of 400 pixels; they must have 441 pixels"):
        observe(white(1, 40)[:, :20, :20], white(2, 40)[:, :20, :20], LG)
    with pytest.raises(InputError, match="readers: 1"):
        observe(white(1, 40), white(2, 40), LG, readers=1)
