"""Scanners fitted to series: known ones are found again, and unmeasurable noise is reported."""

import dataclasses
import math

import fake_dicom
import numpy as np
import pytest
import scipy.ndimage
from jaxtyping import Float

from cpca_jax.data.dicom import search
from cpca_jax.errors import InputError
from cpca_jax.simulation import low_dose
from cpca_jax.simulation.calibration import Calibration, calibrate
from cpca_jax.simulation.noise import Patches, find_flat_patches, radial_spectrum
from cpca_jax.simulation.phantom.phantom import make_phantom
from cpca_jax.simulation.physics import DEFAULT_SCANNER, Scanner, full_dose, lower_dose

# It is the quantum noise whose variance goes with 1/dose.
QUANTUM = Scanner(electronic_noise=0.0)
# Smoother and noisier, and sharper and quieter, than the default scanner.
SOURCES = {
    "smooth": dataclasses.replace(QUANTUM, photons=1e5, cutoff_per_mm=0.6),
    "sharp": dataclasses.replace(QUANTUM, photons=5e5, cutoff_per_mm=1.2),
}


@dataclasses.dataclass(frozen=True)
class Scan:
    """A phantom with anatomy down to a liver's texture, its scan, and what was fitted to it."""

    scanner: Scanner
    truth: np.ndarray
    full: np.ndarray
    spacing_mm: float
    fitted: Calibration

    @property
    def soft(self) -> np.ndarray:
        """Soft tissue, 6 mm or more from anything else."""
        soft = (self.truth > 0) & (self.truth < 200)
        return scipy.ndimage.binary_erosion(soft, np.ones((1, 7, 7)), iterations=2)

    def patches(self) -> Patches:
        return find_flat_patches(self.full, spacing_mm=self.spacing_mm)

    def lower(self, dose: float, seed: int = 3) -> np.ndarray:
        scanner = self.fitted.scanner
        return lower_dose(
            self.full, spacing_mm=self.spacing_mm, dose=dose, seed=seed, scanner=scanner
        )


@pytest.fixture(scope="module", params=SOURCES)
def scan(request: pytest.FixtureRequest) -> Scan:
    phantom = make_phantom(2, slices=4, size=384)
    scanner = SOURCES[request.param]
    spacing = phantom.spacing_mm
    full = full_dose(phantom.truth_hu, spacing_mm=spacing, seed=11, scanner=scanner)
    # Stored in whole HU, as a series is.
    full = np.rint(full)
    fitted = calibrate(full, spacing_mm=spacing, scanner=QUANTUM)
    return Scan(scanner, phantom.truth_hu, full, spacing, fitted)


@pytest.mark.slow
def test_the_scanner_is_found_again(scan: Scan) -> None:
    found = scan.fitted.scanner
    assert found.cutoff_per_mm == pytest.approx(scan.scanner.cutoff_per_mm, rel=0.1)
    # At equal noise the photons go with the third power of the cutoff.
    assert found.photons == pytest.approx(scan.scanner.photons, rel=0.3)
    noise = scan.patches().residuals(scan.full - scan.truth)
    # Anatomy does not count: the true noise of the same patches is known.
    assert scan.fitted.noise_hu == pytest.approx(np.sqrt(np.median(noise.var((1, 2)))), rel=0.05)
    assert f"noise of {scan.fitted.noise_hu:.1f} HU" in scan.fitted.note
    # What is not fitted stays.
    kept = dataclasses.replace(found, photons=QUANTUM.photons, cutoff_per_mm=QUANTUM.cutoff_per_mm)
    assert kept == QUANTUM


@pytest.mark.slow
def test_the_dose_scales_the_sources_variance(scan: Scan) -> None:
    before = (scan.full - scan.truth)[scan.soft].std()
    for dose in (0.5, 0.25, 0.1):
        low = scan.lower(dose)
        after = (low - scan.truth)[scan.soft].std()
        assert after / before == pytest.approx(1 / math.sqrt(dose), rel=0.05)
        assert abs((low - scan.full)[scan.soft].mean()) < 1


@pytest.mark.slow
def test_the_added_noise_has_the_sources_spectrum(scan: Scan) -> None:
    low = scan.lower(0.25)

    def mean_frequency(noise: Float[np.ndarray, "z y x"]) -> float:
        residuals = scan.patches().residuals(noise)
        return radial_spectrum(residuals, spacing_mm=scan.spacing_mm).mean_frequency_per_mm

    wanted = mean_frequency(scan.full - scan.truth)
    assert mean_frequency(low - scan.full) == pytest.approx(wanted, rel=0.1)
    # The default scanner's kernel would not do.
    other = lower_dose(scan.full, spacing_mm=scan.spacing_mm, dose=0.25, seed=3)
    assert mean_frequency(other - scan.full) != pytest.approx(wanted, rel=0.1)


@pytest.mark.slow
def test_the_same_series_gives_the_same_scanner_and_the_seed_decides_the_noise(scan: Scan) -> None:
    assert calibrate(scan.full, spacing_mm=scan.spacing_mm, scanner=QUANTUM) == scan.fitted
    np.testing.assert_array_equal(scan.lower(0.25, seed=1), scan.lower(0.25, seed=1))
    assert np.abs(scan.lower(0.25, seed=1) - scan.lower(0.25, seed=2)).max() > 1


SPACING_MM = 1.5
AXIS = (np.arange(192) - 95.5) * SPACING_MM
RADIUS = np.hypot(AXIS[None, :], AXIS[:, None])


def grainy(noise_hu: float = 15.0) -> Float[np.ndarray, "z y x"]:
    """Return three slices of a cylinder of soft tissue in air with white noise, HU."""
    noise = np.random.default_rng(5).normal(0, noise_hu, (3, 192, 192))
    return (np.where(RADIUS < 100, 50.0, -1000.0) + noise).astype(np.float32)


UNUSABLE = {
    "air": (np.full((3, 192, 192), -1000.0), "0 patches of soft tissue"),
    "no noise": (np.rint(grainy(0.0)), "0 patches of soft tissue with noise"),
    "tiny": (grainy()[:, 88:98, 88:98], "patches of soft tissue"),
    "smaller than a patch": (grainy()[:, 90:96, 90:96], "0 patches of soft tissue"),
    "fat": (grainy() - 150, "0 patches of soft tissue"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_measured_is_said(name: str) -> None:
    volume, reason = UNUSABLE[name]
    mine = Scanner(photons=1e5)
    found = calibrate(volume, spacing_mm=SPACING_MM, scanner=mine)
    assert (found.scanner, found.noise_hu) == (mine, None)
    assert found.note.startswith("dose not calibrated, default scanner: ")
    assert reason in found.note
    assert "\n" not in found.note


def test_pixels_too_coarse_are_said() -> None:
    found = calibrate(grainy(), spacing_mm=4.0)
    assert found.scanner == DEFAULT_SCANNER
    assert "pixels of 4 mm; must be 1.5 mm or smaller" in found.note


def test_impossible_slices_are_refused() -> None:
    with pytest.raises(InputError, match="square"):
        calibrate(grainy()[:, 1:], spacing_mm=SPACING_MM)
    with pytest.raises(InputError, match="spacing_mm"):
        calibrate(grainy(), spacing_mm=0.0)


@pytest.mark.parametrize("padding", [-2000.0, -1024.0, 0.0])
def test_padding_outside_the_field_is_not_tissue(padding: float) -> None:
    padded = np.where(RADIUS > 120, np.float32(padding), grainy())
    plain = find_flat_patches(grainy(), spacing_mm=SPACING_MM)
    found = find_flat_patches(padded, spacing_mm=SPACING_MM)
    np.testing.assert_array_equal(found.corners, plain.corners)


def test_a_kernel_beyond_reach_is_said() -> None:
    # White noise differenced twice has far more of the highest frequencies than a ramp.
    noise = scipy.ndimage.laplace(grainy()[0] - grainy(0.0)[0])
    found = calibrate((grainy(0.0)[0] + noise)[None], spacing_mm=0.75)
    assert found.noise_hu is not None
    assert "beyond the simulation's reach" in found.note


def test_the_spectrum_is_the_noises() -> None:
    spacing = 0.8
    white = np.random.default_rng(0).normal(0, 10, (400, 15, 15))
    found = radial_spectrum(white, spacing_mm=spacing)
    # White noise has SD^2 times the pixel's area everywhere; 400 patches give it to 3 %.
    np.testing.assert_allclose(found.power[2:], 100 * spacing**2, rtol=0.15)
    assert found.frequency_per_mm[-1] <= 0.5 / spacing
    # A wave of 0.3/mm stands where it belongs.
    wave = np.sin(2 * np.pi * 0.3 * spacing * np.arange(15))
    wave = np.broadcast_to(wave, (2, 15, 15))
    peak = radial_spectrum(np.ascontiguousarray(wave), spacing_mm=spacing)
    assert peak.frequency_per_mm[np.argmax(peak.power)] == pytest.approx(0.3, abs=0.03)


def test_residuals_are_free_of_smooth_anatomy() -> None:
    y, x = np.mgrid[:40, :40].astype(float)
    slope = (3 * y - 2 * x + 0.05 * x * y - 0.04 * y**2)[None]
    patches = Patches(np.array([[0, 3, 5], [0, 20, 12]]), 15)
    np.testing.assert_allclose(patches.residuals(slope), 0, atol=1e-9)
    noise = np.random.default_rng(1).normal(0, 10, (1, 40, 40))
    np.testing.assert_allclose(patches.residuals(slope + noise), patches.residuals(noise))


def test_preparation_is_told(tmp_path) -> None:
    body = fake_dicom.body(2, noise_hu=4.0, size=64).astype(np.int16)
    fake_dicom.write_series(tmp_path / "scan", body, PixelSpacing=[4, 4])
    (one,) = search.find_series(tmp_path).series
    low, fitted = low_dose.lower_dose(body, one, dose=0.25, seed=1)
    assert low.dtype == np.int16
    assert "not calibrated" in fitted.note
