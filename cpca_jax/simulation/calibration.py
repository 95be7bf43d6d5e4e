"""A scanner fitted to a series, so that a simulated dose is a fraction of that series' dose.

Two numbers of the full-dose slices decide: the size of the noise in flat soft tissue gives
the number of photons, because the variance of quantum noise is proportional to 1/N, and the mean
frequency of its spectrum gives the cutoff of the kernel. Both are compared with noise that is
simulated for the same slices and measured in the same patches, so that patient, field of view,
patch and pixel size cancel out. Volumes are (z y x) in HU.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Num

from cpca_jax.errors import InputError
from cpca_jax.simulation import physics
from cpca_jax.simulation.noise import (
    Patches,
    Residuals,
    Spectrum,
    find_flat_patches,
    radial_spectrum,
)
from cpca_jax.simulation.physics import DEFAULT_SCANNER, Scanner
from cpca_jax.simulation.projection import apodisation

# The number of slices that are examined, spread evenly over the volume.
_SLICES = 8
# The seed of the simulated noise that serves for comparison; any seed will do.
_SEED = 0
# The range of cutoffs that are tried, 1/mm. At 8 hardly anything but the ramp is left.
_CUTOFFS_PER_MM = (0.2, 8.0)
_BISECTIONS = 30


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A scanner for a series, with a report of its fit.

    Attributes:
        scanner: The scanner to simulate with.
        noise_hu: The standard deviation of the series' noise in flat soft tissue; None where it
            could not be measured and the scanner is the one that was given.
        note: One line for the user that says how the scanner was found.
    """

    scanner: Scanner
    noise_hu: float | None
    note: str


def calibrate(
    volume_hu: Num[np.ndarray, "z y x"],
    *,
    spacing_mm: float,
    scanner: Scanner = DEFAULT_SCANNER,
) -> Calibration:
    """Fit the photons and kernel of a scanner to the noise of a full-dose volume.

    Args:
        volume_hu: The full-dose slices, square, with the isocentre in the middle, HU.
        spacing_mm: The pixel size, mm.
        scanner: The scanner whose other properties are kept; it is returned unchanged where no
            noise can be measured.

    Returns:
        The fitted scanner: at the fraction a of the dose, the quantum noise in flat soft
        tissue has 1/a of the variance that `volume_hu` has there.

    Raises:
        InputError: Slices that are not square, or a pixel size that is not positive.
    """
    physics.require_square(volume_hu.shape, spacing_mm)
    places = np.unique(np.linspace(0, len(volume_hu) - 1, _SLICES).astype(int))
    slices = volume_hu[places]
    try:
        patches = find_flat_patches(slices, spacing_mm=spacing_mm)
    except InputError as error:
        return Calibration(scanner, None, f"dose not calibrated, default scanner: {error}")
    source = patches.residuals(slices)
    wanted = radial_spectrum(source, spacing_mm=spacing_mm).mean_frequency_per_mm

    def simulate(cutoff_per_mm: float) -> Residuals:
        # Without electronic noise the variance is exactly proportional to 1/N.
        like = dataclasses.replace(scanner, electronic_noise=0.0, cutoff_per_mm=cutoff_per_mm)
        return _noise(slices, spacing_mm, like, patches)

    ramp = radial_spectrum(simulate(math.inf), spacing_mm=spacing_mm)
    aim = wanted
    # The ramp's noise above the pixels' Nyquist frequency is folded down and makes the first pass
    # miss its aim; the second pass corrects that.
    for _ in range(2):
        cutoff = _fit_cutoff(ramp, aim)
        noise = simulate(cutoff)
        aim *= wanted / radial_spectrum(noise, spacing_mm=spacing_mm).mean_frequency_per_mm
    # The median leaves out patches that are not flat after all.
    ratio = np.median(noise.var((1, 2)) / source.var((1, 2)))
    fitted = dataclasses.replace(
        scanner, photons=float(scanner.photons * ratio), cutoff_per_mm=cutoff
    )
    noise_hu = float(np.sqrt(np.median(source.var((1, 2)))))
    return Calibration(fitted, noise_hu, _describe(fitted, noise_hu, wanted, len(source)))


def _noise(
    slices: Num[np.ndarray, "z y x"], spacing_mm: float, scanner: Scanner, patches: Patches
) -> Residuals:
    """Simulate full-dose noise of the slices and return it in the patches."""
    noisy = physics.full_dose(slices, spacing_mm=spacing_mm, seed=_SEED, scanner=scanner)
    return patches.residuals(noisy - slices)


def _fit_cutoff(ramp: Spectrum, wanted_per_mm: float) -> float:
    """Return the cutoff that gives ramp-filtered noise a mean frequency, or the nearest to it."""
    low, high = _CUTOFFS_PER_MM
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        gain = apodisation(ramp.frequency_per_mm, middle)
        behind = dataclasses.replace(ramp, power=ramp.power * gain**2)
        low, high = (
            (middle, high) if behind.mean_frequency_per_mm < wanted_per_mm else (low, middle)
        )
    return math.sqrt(low * high)


def _describe(scanner: Scanner, noise_hu: float, wanted_per_mm: float, patches: int) -> str:
    limits = [c for c in _CUTOFFS_PER_MM if math.isclose(scanner.cutoff_per_mm, c, rel_tol=1e-3)]
    beyond = "; the source's kernel is beyond the simulation's reach" if limits else ""
    return (
        f"dose calibrated to noise of {noise_hu:.1f} HU around {wanted_per_mm:.2f}/mm "
        f"in {patches} flat patches: {scanner.photons:.2g} photons, "
        f"cutoff {scanner.cutoff_per_mm:.2f}/mm{beyond}"
    )
