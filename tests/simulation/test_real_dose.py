"""Simulated low doses against real CT: the source's own noise, and real quarter doses."""

from pathlib import Path

import numpy as np
import pytest

from cpca_jax.data.dicom import search
from cpca_jax.simulation import low_dose
from cpca_jax.simulation.noise import find_flat_patches, radial_spectrum
from docs.make_dose_simulation_figure import compare, find_mayo

pytestmark = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.real_data
def test_a_quarter_dose_has_twice_the_noise_of_its_source(real_data: Path) -> None:
    # Iteratively reconstructed: the default scanner made it 3.4 times as noisy.
    (one,) = search.find_series(real_data / "abdomen-20").series
    full = one.read()
    low, fitted = low_dose.lower_dose(full, one, dose=0.25, seed=4)
    assert fitted.noise_hu is not None
    spacing_mm = one.first.spacing_mm[0]
    patches = find_flat_patches(full, spacing_mm=spacing_mm)
    before, after = patches.residuals(full), patches.residuals(low)
    ratio = np.sqrt(np.median(after.var((1, 2)) / before.var((1, 2))))
    assert ratio == pytest.approx(2, rel=0.05)
    wanted, found = (
        radial_spectrum(noise, spacing_mm=spacing_mm).mean_frequency_per_mm
        for noise in (before, patches.residuals(low - full))
    )
    assert found == pytest.approx(wanted, rel=0.1)
    assert abs((low - full)[(full > 0) & (full < 150)].mean()) < 1


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("label", ["L143 B30f 3 mm", "L192 D45f 3 mm"])
def test_simulated_noise_is_like_that_of_a_real_quarter_dose(real_data: Path, label: str) -> None:
    (pair,) = (pair for pair in find_mayo(real_data) if pair.label == label)
    found = compare(pair)
    wanted = found.real.spectrum.mean_frequency_per_mm
    assert found.simulated.spectrum.mean_frequency_per_mm == pytest.approx(wanted, rel=0.1)
    # The real difference has 1.1 to 1.2 times the SD that the photons alone would give, and
    # the full dose does not show by how much: 0.90 and 0.92 are measured.
    assert 0.85 < found.simulated.flat_sd_hu / found.real.flat_sd_hu < 1.05
    # Bowtie filter and modulation of the real scanner are not known: 0.88 to 1.07 measured.
    for tissue in ("soft tissue", "fat", "lung"):
        ratio = found.ratio(tissue)
        assert ratio is not None
        assert 0.8 < ratio < 1.2
