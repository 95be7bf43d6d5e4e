"""Channelised Hotelling observer: it measures how well a known lesion is told from its absence.

An image is reduced to its responses to a few channels, as in early vision; the best linear
decision on them is the observer (Myers and Barrett, J Opt Soc Am A 4:2447, 1987; Gallas and
Barrett, J Opt Soc Am A 20:1725, 2003). Channels have the parameters of the LCD-CT toolbox (FDA,
DIDSR/LCD_CT). Everything is NumPy in float64.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Float

from cpca_jax.errors import InputError

# The numbers of ROIs with and without a lesion may differ, so their axis has no name.
Rois = Float[np.ndarray, "_ y x"]
Channels = Float[np.ndarray, "pixels channels"]
Responses = Float[np.ndarray, "_ directions"]
Scores = Float[np.ndarray, " _"]

# Singular values of channels and eigenvalues of covariances below this share of the largest one
# are rounding errors.
_NEGLIGIBLE = 1e-10
_TRAINING_SHARE = 0.5
_NORMAL_95 = 1.96


@dataclasses.dataclass(frozen=True)
class Spread:
    """The mean over readers, and the mean plus and minus 1.96 standard deviations over readers.

    Readers are random halves of the same ROIs, so that their standard deviation is a delete-half
    jackknife estimate of the error of the whole (Shao and Wu, Ann Stat 17:1176, 1989). It is a
    little too small: in 200 simulated studies of 120 ROIs of each kind it was 0.92 of the true
    one with 20 readers. Training on few ROIs also lowers d', there from 1.2 to 1.12; both matter
    less with more ROIs.
    """

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Detectability:
    """The observer's result for one task.

    Attributes:
        d_primes: the detectability index of each reader.
        aucs: the area under the ROC curve of each reader.
        present: the number of signal-present ROIs, training and test together.
        absent: the number of signal-absent ROIs, training and test together.
    """

    d_primes: tuple[float, ...]
    aucs: tuple[float, ...]
    present: int
    absent: int

    @property
    def d_prime(self) -> Spread:
        """The detectability index; below 0 where the lesion is not found."""
        return _spread(np.asarray(self.d_primes))

    @property
    def auc(self) -> Spread:
        """The area under the ROC curve; the interval may pass 1."""
        return _spread(np.asarray(self.aucs))

    def gain_over(self, other: "Detectability") -> Spread:
        """Return the gain in d' over another method, reader by reader.

        This requires ROIs of the same places in the same order, observed with the same seed: then
        a reader of one method has the same training and test places as that of the other.
        """
        return _spread(np.asarray(self.d_primes) - np.asarray(other.d_primes))


def laguerre_gauss(roi_pixels: int, pixel_mm: float, radius_mm: float) -> Channels:
    """Return five Laguerre-Gauss channels, exp(-pi r^2/h^2) L_j(2 pi r^2/h^2).

    Args:
        roi_pixels: the edge of the ROI in pixels.
        pixel_mm: the pixel size in mm.
        radius_mm: the radius of the lesion in mm; h is 2/3 of the diameter.

    Returns:
        One column per channel, of norm 1.
    """
    y, x = _axes(roi_pixels)
    square = (x**2 + y**2) * (pixel_mm / (2 / 3 * 2 * radius_mm)) ** 2
    return _columns([
        np.exp(-np.pi * square) * scipy.special.eval_laguerre(j, 2 * np.pi * square)
        for j in range(5)
    ])


def dense_difference_of_gaussians(roi_pixels: int, pixel_mm: float, radius_mm: float) -> Channels:
    """Return ten differences of Gaussians: a_0 0.005 cycles/pixel, alpha 1.4, Q 1.67.

    Frequencies are per pixel, so that the pixel size and the lesion do not matter.
    """
    del pixel_mm, radius_mm
    return _difference_of_gaussians(roi_pixels, 10, 0.005, 1.4, 1.67)


def sparse_difference_of_gaussians(roi_pixels: int, pixel_mm: float, radius_mm: float) -> Channels:
    """Return three differences of Gaussians: a_0 0.015 cycles/pixel, alpha 2, Q 2.

    Frequencies are per pixel, as those of the dense ones.
    """
    del pixel_mm, radius_mm
    return _difference_of_gaussians(roi_pixels, 3, 0.015, 2.0, 2.0)


def gabor(roi_pixels: int, pixel_mm: float, radius_mm: float) -> Channels:
    """Return sixteen Gabor channels: four octave bands below 1/8 cycle/pixel, four angles.

    The phase is 0.

    Frequencies are per pixel, so that the pixel size and the lesion do not matter.
    """
    del pixel_mm, radius_mm
    y, x = _axes(roi_pixels)
    channels = []
    for octave in range(4):
        high = 2.0 ** (-3 - octave)
        middle, bandwidth = 0.75 * high, 0.5 * high
        width = 4 * math.log(2) / (math.pi * bandwidth)
        envelope = np.exp(-4 * math.log(2) * (x**2 + y**2) / width**2)
        for angle in np.arange(4) * np.pi / 4:
            along = x * np.cos(angle) + y * np.sin(angle)
            channels.append(envelope * np.cos(2 * np.pi * middle * along))
    return _columns(channels)


CHANNELS: dict[str, Callable[[int, float, float], Channels]] = {
    "laguerre-gauss": laguerre_gauss,
    "dense difference of gaussians": dense_difference_of_gaussians,
    "sparse difference of gaussians": sparse_difference_of_gaussians,
    "gabor": gabor,
}


def observe(
    present: Rois, absent: Rois, channels: Channels, *, readers: int = 10, seed: int = 0
) -> Detectability:
    """Measure d' and AUC of readers who are each trained on a random half and tested on the other.

    The mean of each ROI is removed first. The same seed and numbers of ROIs give the same halves.

    Args:
        present: the ROIs with the lesion in the middle.
        absent: the ROIs without it.
        channels: the channels for ROIs of that size.
        readers: the number of readers, each a random half.
        seed: the seed of the halves.

    Raises:
        InputError: fewer than two readers, ROIs that do not fit the channels, or too few of them.
    """
    _check(present, absent, channels, readers)
    random = np.random.default_rng(seed)
    responses = [respond(rois, channels) for rois in (present, absent)]
    found = []
    for _ in range(readers):
        halves = [_halves(random.permutation(len(one)), one) for one in responses]
        (train_present, test_present), (train_absent, test_absent) = halves
        weights = template(train_present, train_absent)
        scores = test_present @ weights, test_absent @ weights
        found.append((d_prime(*scores), area_under_curve(*scores)))
    d_primes, aucs = zip(*found, strict=True)
    return Detectability(d_primes, aucs, len(present), len(absent))


def respond(rois: Rois, channels: Channels) -> Responses:
    """Return the responses of the channels to ROIs whose means are removed.

    The mean is removed from the channels instead of the ROIs, with the same result. An orthonormal
    basis of the channels is used: d' and AUC stay the same, but the covariance of broad channels,
    which are nearly alike within a small ROI, would have no correct digits.

    Args:
        rois: the ROIs, with or without a lesion.
        channels: the channels for ROIs of that size.

    Returns:
        One column per direction; there are fewer directions than channels where the channels
        depend on each other.
    """
    directions, sizes, _ = np.linalg.svd(channels - channels.mean(axis=0), full_matrices=False)
    basis = directions[:, sizes > _NEGLIGIBLE * sizes[0]]
    responses: Responses = rois.reshape(len(rois), -1).astype(np.float64) @ basis
    return responses


def template(present: Responses, absent: Responses) -> Float[np.ndarray, " directions"]:
    """Return the Hotelling template K^-1 (mean present - mean absent); K averages covariances."""
    covariance = (np.cov(present, rowvar=False) + np.cov(absent, rowvar=False)) / 2
    inverse = np.linalg.pinv(np.atleast_2d(covariance), rcond=_NEGLIGIBLE, hermitian=True)
    weights: Float[np.ndarray, " directions"] = inverse @ (
        present.mean(axis=0) - absent.mean(axis=0)
    )
    return weights


def d_prime(present: Scores, absent: Scores) -> float:
    """Return the difference of the mean scores over the root of the mean of their variances."""
    difference = float(present.mean() - absent.mean())
    noise = math.sqrt((present.var(ddof=1) + absent.var(ddof=1)) / 2)
    if noise == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / noise


def area_under_curve(present: Scores, absent: Scores) -> float:
    """Return the share of pairs in which the present one has the higher score; ties count half.

    Mann and Whitney, Ann Math Stat 18:50, 1947.
    """
    ranks = scipy.stats.rankdata(np.concatenate([present, absent]))
    above = ranks[: len(present)].sum() - len(present) * (len(present) + 1) / 2
    return float(above / (len(present) * len(absent)))


def _check(present: Rois, absent: Rois, channels: Channels, readers: int) -> None:
    pixels, count = channels.shape
    for name, rois in (("present", present), ("absent", absent)):
        own = rois.shape[1] * rois.shape[2]
        if own != pixels:
            raise InputError(
                f"{name}: ROIs of {own} pixels; they must have {pixels} pixels, as the channels do"
            )
    fewest = count + 2
    if min(len(present), len(absent)) < 2 * fewest:
        raise InputError(
            f"{len(present)} ROIs with and {len(absent)} without the lesion; {count} channels need "
            f"at least {2 * fewest} of each"
        )
    if readers < 2:
        raise InputError(f"readers: {readers}; there must be 2 or more for a spread")


def _halves(order: np.ndarray, responses: Responses) -> tuple[Responses, Responses]:
    """Return the training half and the test half."""
    training = int(_TRAINING_SHARE * len(order))
    return responses[order[:training]], responses[order[training:]]


def _spread(values: Float[np.ndarray, " reader"]) -> Spread:
    mean, reach = float(values.mean()), _NORMAL_95 * float(values.std(ddof=1))
    return Spread(mean, mean - reach, mean + reach)


def _difference_of_gaussians(
    roi_pixels: int, count: int, lowest: float, ratio: float, broader: float
) -> Channels:
    """Return the transforms of exp(-f^2/(2 (Q a)^2)) - exp(-f^2/(2 a^2)), a growing by a ratio.

    A Gaussian of deviation s in frequency is 2 pi s^2 exp(-2 pi^2 s^2 r^2) in the image.
    """
    y, x = _axes(roi_pixels)

    def gaussian(deviation: float) -> Float[np.ndarray, "y x"]:
        factor = 2 * np.pi * deviation**2
        image: Float[np.ndarray, "y x"] = factor * np.exp(-np.pi * factor * (x**2 + y**2))
        return image

    deviations = lowest * ratio ** np.arange(count)
    return _columns([gaussian(broader * a) - gaussian(a) for a in deviations])


def _axes(roi_pixels: int) -> tuple[Float[np.ndarray, "y 1"], Float[np.ndarray, "1 x"]]:
    """Return the rows and columns counted from the middle of the ROI."""
    place = np.arange(roi_pixels) - (roi_pixels - 1) / 2
    return place[:, None], place[None, :]


def _columns(channels: list[Float[np.ndarray, "y x"]]) -> Channels:
    columns = np.stack([channel.ravel() for channel in channels], axis=1)
    unit: Channels = columns / np.linalg.norm(columns, axis=0)
    return unit
