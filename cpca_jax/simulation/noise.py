"""The noise of a scan, measured where its tissue is flat: its size and its spectrum.

Anatomy must not count as noise. The noise is therefore measured in small patches that show only
soft tissue, in the few of them whose low frequencies vary least, after a fitted quadratic surface
is subtracted from each. Christianson et al. also measure the noise of patients in patches of soft
tissue found by their HU (AJR Am J Roentgenol 205:W93, 2015); a choice by the low frequencies,
where CT has little noise and anatomy is strongest, does not favour patches with little noise.
Volumes are (z y x) in HU.
"""

import dataclasses

import numpy as np
import scipy.ndimage
from jaxtyping import Float, Int, Num

from cpca_jax.errors import InputError

Residuals = Float[np.ndarray, "patch n n"]

# Twelve millimetres fit between the vessels of a liver: among 12, 16, 20 and 25 mm they gave, from
# full doses alone, the spectra nearest to those of the real differences, quarter minus full dose.
_SIDE_MM = 12.0
_FEWEST_PIXELS = 8
_FEWEST_PATCHES = 16
# The share of the flattest patches among all that show soft tissue.
_FLAT_SHARE = 0.1
# Soft tissue with and without contrast agent; the blur leaves it nearly without noise.
_TISSUE_HU = (-20.0, 220.0)
_BLUR_MM = 2.0
# Rounding to whole HU alone gives 0.3; areas filled with one number have no more noise than that.
_LEAST_NOISE_HU = 0.5
# The bins of the radial spectrum, 1/mm, and the number of points of its transform.
_BIN_PER_MM = 0.04
_POINTS = 64
# Below this frequency anatomy has more power than noise, even in flat patches.
_LOWEST_PER_MM = 0.1


@dataclasses.dataclass(frozen=True)
class Patches:
    """Square patches of a volume.

    Attributes:
        corners: The z, y and x of the first pixel of each patch.
        side: The number of pixels along each side.
    """

    corners: Int[np.ndarray, "patch 3"]
    side: int

    def residuals(self, volume_hu: Num[np.ndarray, "z y x"]) -> Residuals:
        """Return each patch minus a fitted quadratic surface, HU."""
        reach = np.arange(self.side)
        z, y, x = (place[:, None, None] for place in self.corners.T)
        values = volume_hu[z, y + reach[:, None], x + reach].astype(np.float64)
        u = np.linspace(-1, 1, self.side)
        terms = np.stack([u[:, None] ** i * u**j for i in range(3) for j in range(3 - i)])
        surface, _ = np.linalg.qr(terms.reshape(len(terms), -1).T)
        flat = values.reshape(-1, self.side**2)
        left: Residuals = (flat - flat @ surface @ surface.T).reshape(values.shape)
        return left


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """A noise power spectrum, averaged over directions.

    Attributes:
        frequency_per_mm: The middles of its bins, up to the Nyquist frequency of the pixels.
        power: The mean power in each bin, HU^2 mm^2.
    """

    frequency_per_mm: Float[np.ndarray, " bin"]
    power: Float[np.ndarray, " bin"]

    @property
    def mean_frequency_per_mm(self) -> float:
        """The power-weighted mean frequency above 0.1/mm (Samei et al., AAPM TG 233, 2019).

        The lower frequencies are left out because a patient's anatomy hides the noise there.
        """
        above = self.frequency_per_mm > _LOWEST_PER_MM
        frequency, power = self.frequency_per_mm[above], self.power[above]
        return float((frequency * power).sum() / power.sum())


def find_flat_patches(volume_hu: Num[np.ndarray, "z y x"], *, spacing_mm: float) -> Patches:
    """Find the flattest patches of soft tissue in a volume.

    Args:
        volume_hu: The slices, HU.
        spacing_mm: The pixel size, mm.

    Returns:
        At least 16 patches of 12 mm.

    Raises:
        InputError: Pixels too coarse, or too little soft tissue with noise in it.
    """
    side = round(_SIDE_MM / spacing_mm)
    if side < _FEWEST_PIXELS:
        raise InputError(
            f"pixels of {spacing_mm:.3g} mm; must be {_SIDE_MM / _FEWEST_PIXELS:g} mm or smaller"
        )
    every = Patches(_tissue_corners(volume_hu, side, _BLUR_MM / spacing_mm), side)
    residuals = every.residuals(volume_hu)
    noisy = residuals.std((1, 2)) > _LEAST_NOISE_HU
    if np.count_nonzero(noisy) < _FEWEST_PATCHES:
        raise InputError(
            f"{np.count_nonzero(noisy)} patches of soft tissue with noise; "
            f"there must be {_FEWEST_PATCHES} or more"
        )
    blur = _BLUR_MM / spacing_mm
    uneven = scipy.ndimage.gaussian_filter(residuals[noisy], (0, blur, blur)).std((1, 2))
    count = max(_FEWEST_PATCHES, round(_FLAT_SHARE * len(uneven)))
    return Patches(every.corners[noisy][np.argsort(uneven, kind="stable")[:count]], side)


def radial_spectrum(residuals: Residuals, *, spacing_mm: float) -> Spectrum:
    """Return the mean noise power spectrum of patches as a function of the radial frequency.

    Args:
        residuals: The patches of noise, each of mean 0, HU.
        spacing_mm: The pixel size, mm.

    Returns:
        The spectrum (ICRU report 87, 2012, equation for 2D ensembles; with a Hann window).
    """
    side = residuals.shape[1]
    line = np.hanning(side + 2)[1:-1]
    window = np.outer(line, line)
    points = max(_POINTS, side)
    power = np.abs(np.fft.fft2(residuals * window, (points, points))) ** 2
    mean = power.mean(0) * spacing_mm**2 / (window**2).sum()
    frequency = np.fft.fftfreq(points, spacing_mm)
    bins = (np.hypot(frequency[:, None], frequency) / _BIN_PER_MM).astype(int)
    count = int(0.5 / spacing_mm / _BIN_PER_MM)
    total = np.bincount(bins.ravel(), mean.ravel())[:count]
    size = np.bincount(bins.ravel())[:count]
    return Spectrum((np.arange(count) + 0.5) * _BIN_PER_MM, total / np.maximum(size, 1))


def _tissue_corners(
    volume_hu: Num[np.ndarray, "z y x"], side: int, blur: float
) -> Int[np.ndarray, "patch 3"]:
    """Return the first pixels of all patches, half a side apart, that show only soft tissue."""
    found = []
    step = side // 2
    for z, image in enumerate(volume_hu):
        smooth = scipy.ndimage.gaussian_filter(image.astype(np.float32), blur)
        tissue = (smooth > _TISSUE_HU[0]) & (smooth < _TISSUE_HU[1])
        if min(tissue.shape) < side:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(tissue, (side, side))
        y, x = np.nonzero(windows[::step, ::step].all((2, 3)))
        found.append(np.stack([np.full_like(y, z), y * step, x * step], axis=1))
    return np.concatenate(found) if found else np.empty((0, 3), int)
