"""Line integrals and backprojection against ellipses, whose line integrals are known."""

import numpy as np
import pytest
from jaxtyping import Float

from cpca_jax.simulation.beams import Beam, FanBeam, ParallelBeam
from cpca_jax.simulation.projection import project, project_quickly, reconstruct

WATER = 0.0192
# x, y, half axes in mm, attenuation in 1/mm: a body, a bone, a gas bubble, something off axis.
ELLIPSES = (
    (6.0, -4.0, 165.0, 115.0, WATER),
    (0.0, 50.0, 23.0, 18.0, 0.3 * WATER),
    (60.0, -40.0, 30.0, 20.0, -WATER),
    (-80.0, 10.0, 12.0, 25.0, 0.1 * WATER),
)
BEAMS = {"fan": FanBeam(), "parallel": ParallelBeam()}


def drawn(size: int, spacing_mm: float) -> Float[np.ndarray, "y x"]:
    fine = (np.arange(size * 4) - (size * 4 - 1) / 2) * spacing_mm / 4
    x, y = fine[None, :], fine[:, None]
    image = np.zeros((size * 4, size * 4), np.float32)
    for cx, cy, a, b, mu in ELLIPSES:
        image[((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1] += mu
    return image.reshape(size, 4, size, 4).mean((1, 3))


def exact(beam: Beam) -> Float[np.ndarray, "view detector"]:
    theta, t = (np.asarray(part, np.float64) for part in beam.rays())
    total = np.zeros_like(theta)
    for cx, cy, a, b, mu in ELLIPSES:
        square = (a * np.cos(theta)) ** 2 + (b * np.sin(theta)) ** 2
        distance = t - cx * np.cos(theta) - cy * np.sin(theta)
        total += 2 * mu * a * b / square * np.sqrt(np.maximum(square - distance**2, 0))
    return total


def relative(found: object, right: object) -> float:
    return float(np.linalg.norm(np.subtract(found, right)) / np.linalg.norm(np.asarray(right)))


def in_hu(attenuation: object) -> Float[np.ndarray, "..."]:
    return np.asarray(attenuation) / WATER * 1000


@pytest.mark.parametrize("name", BEAMS)
def test_line_integrals_are_those_of_the_ellipses(name: str) -> None:
    beam, image = BEAMS[name], drawn(512, 0.75)
    right = exact(beam)
    full = project(image, 0.75, beam=beam)
    quick = project_quickly(image, 0.75, beam=beam)
    # Measured: 0.15 % and 0.43 %, nearly all of it at the edges.
    assert relative(full, right) < 0.002
    assert relative(quick, right) < 0.005
    # Away from the edges, 99 of 100 rays; the longest line integral is 6.3.
    assert np.percentile(np.abs(full - right), 99) < 0.02
    assert np.percentile(np.abs(quick - right), 99) < 0.1


def test_every_fan_ray_leaves_the_source() -> None:
    beam = FanBeam()
    theta, t = (np.asarray(part, np.float64) for part in beam.rays())
    turned = np.arange(1152)[:, None] * 2 * np.pi / 1152
    x, y = -595 * np.sin(turned), 595 * np.cos(turned)
    np.testing.assert_allclose(x * np.cos(theta) + y * np.sin(theta), t, atol=1e-3)
    # Two neighbours are one element apart on the arc of the detector.
    np.testing.assert_allclose(np.diff(theta[0]) * 1085.6, 1.2858, rtol=1e-3)


@pytest.mark.parametrize("name", BEAMS)
def test_quick_line_integrals_are_not_shifted(name: str) -> None:
    # A disk off the axis moves along the detector from view to view, so its shadow's centre
    # of gravity shows a shift by part of a view or a detector.
    axis = (np.arange(256) - 127.5) * 1.5
    image = np.exp(-((axis[None, :] - 120) ** 2 + axis[:, None] ** 2) / 800).astype(np.float32)
    beam = BEAMS[name]
    offset = np.asarray(beam.offsets_mm())
    full = np.asarray(project(image, 1.5, beam=beam))
    quick = np.asarray(project_quickly(image, 1.5, beam=beam, coarseness=8))
    place = [(sinogram @ offset) / sinogram.sum(1) for sinogram in (full, quick)]
    # Away from the first and last views, which have no neighbour to interpolate with.
    assert np.abs(place[0] - place[1])[8:-8].max() < 0.15


@pytest.mark.parametrize("name", BEAMS)
def test_reconstruction_recovers_hounsfield_units(name: str) -> None:
    beam, image = BEAMS[name], drawn(512, 0.75)
    sinogram = exact(beam).astype(np.float32)[None]
    found = reconstruct(sinogram, size=512, spacing_mm=0.75, beam=beam, cutoff_per_mm=0.78)
    error = in_hu(found[0]) - in_hu(image)
    axis = (np.arange(512) - 255.5) * 0.75
    x, y = axis[None, :], axis[:, None]
    flat = np.hypot((x - 6) / 165, (y + 4) / 115) < 0.95
    for cx, cy, a, b, _ in ELLIPSES[1:]:
        flat &= np.abs(np.hypot((x - cx) / a, (y - cy) / b) - 1) * min(a, b) > 4
    # Measured: mean below 0.1 HU, SD 2 HU (views are finitely many).
    assert abs(error[flat].mean()) < 0.3
    assert error[flat].std() < 3
    outside = (np.hypot((x - 6) / 165, (y + 4) / 115) > 1.05) & (np.hypot(x, y) < 190)
    assert abs(error[outside].mean()) < 1


def test_slices_are_reconstructed_independently() -> None:
    beam = FanBeam().coarser(8)
    random = np.random.default_rng(0)
    sinograms = random.normal(size=(3, beam.views, beam.detectors)).astype(np.float32)
    together = reconstruct(sinograms, size=40, spacing_mm=6.0, beam=beam)
    for index in range(3):
        alone = reconstruct(sinograms[index : index + 1], size=40, spacing_mm=6.0, beam=beam)
        scale = float(np.abs(alone).max())
        np.testing.assert_allclose(together[index], alone[0], atol=1e-5 * scale)


def test_a_point_beside_the_detector_gets_nothing() -> None:
    beam = ParallelBeam(views=2, detectors=16, pitch_mm=1.0)
    ones = np.ones((1, 2, 16), np.float32)
    image = np.asarray(reconstruct(ones, size=64, spacing_mm=1.0, beam=beam))[0]
    assert image[0, 0] == 0
    assert image[32, 32] > 0


@pytest.mark.parametrize("name", BEAMS)
def test_coarser_beams_cover_the_same_field(name: str) -> None:
    beam = BEAMS[name]
    for factor in (2, 3, 4):
        coarse = beam.coarser(factor)
        assert coarse.detectors * coarse.pitch_mm == pytest.approx(beam.detectors * beam.pitch_mm)
        assert coarse.views == -(-beam.views // factor)
