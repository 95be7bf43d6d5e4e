"""Phantoms: their seeds, their contents, and lesions that are as described."""

import math

import numpy as np
import pytest

from cpca_jax.errors import InputError
from cpca_jax.simulation.phantom.phantom import (
    FIELD_OF_VIEW_MM,
    Lesion,
    Phantom,
    blur,
    lesion_contrast,
    make_phantom,
    place_lesions,
)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(5, slices=8)


def test_seed_decides() -> None:
    first, again, other = (make_phantom(seed, slices=2, size=128) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.truth_hu, again.truth_hu)
    assert first.lesions == again.lesions
    body = (first.truth_hu > -300) & (other.truth_hu > -300)
    assert np.abs(first.truth_hu - other.truth_hu)[body].mean() > 30


def test_tissues_are_where_they_should_be(phantom: Phantom) -> None:
    hu = phantom.truth_hu
    assert hu.shape == (8, 512, 512)
    assert hu.dtype == np.float32
    assert np.isfinite(hu).all()
    assert hu.min() > -1030
    assert hu.max() < 1000
    assert abs(hu[:, :20, :20].mean() + 1000) < 1
    share = {
        "fat": np.mean((hu > -140) & (hu < -60)),
        "soft": np.mean((hu > 20) & (hu < 130)),
        "contrast": np.mean((hu > 140) & (hu < 250)),
        "bone": np.mean(hu > 300),
    }
    body = np.mean(hu > -300)
    assert 0.35 < body < 0.6
    assert 0.15 < share["fat"] / body < 0.6
    assert 0.3 < share["soft"] / body < 0.75
    assert 0.005 < share["contrast"] / body < 0.2
    assert 0.005 < share["bone"] / body < 0.1


def test_neighbouring_slices_carry_information(phantom: Phantom) -> None:
    soft = np.clip(phantom.truth_hu, -160, 240)
    step = [float(np.abs(soft[k:] - soft[: len(soft) - k]).mean()) for k in (1, 2, 4)]
    # Alike, but not the same, and less alike the farther apart.
    assert 0.5 < step[0] < step[1] < step[2]
    assert np.corrcoef(soft[3].ravel(), soft[4].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("radius_mm", [2.0, 5.0, 8.0])
def test_a_lesion_alone_has_its_contrast_and_size(radius_mm: float) -> None:
    lesion = Lesion(z=4, y=60, x=70, radius_mm=radius_mm, contrast_hu=-40.0)
    found = blur(lesion_contrast((lesion,), (9, 128, 128), 0.75, 2.0), 0.75)
    # The kernel takes up to a tenth of the contrast of a lesion 4 mm across.
    tolerance = 0.1 if radius_mm < 3 else 0.02
    assert found[4, 60, 70] == pytest.approx(-40, rel=tolerance)
    # Blur keeps the sum, so the area of the central slice shows the radius.
    area = float(found[4].sum()) / -40 * 0.75**2
    assert math.sqrt(area / math.pi) == pytest.approx(radius_mm, rel=0.05)
    # It is a sphere: 4 mm above its middle it is that much narrower.
    wide = math.sqrt(max(radius_mm**2 - 16, 0))
    area = float(found[6].sum()) / -40 * 0.75**2
    assert math.sqrt(max(area, 0) / math.pi) == pytest.approx(wide, abs=0.3)


def test_lesions_of_a_phantom_have_their_contrast(phantom: Phantom) -> None:
    assert len(phantom.lesions) >= 4
    rows, columns = np.mgrid[:512, :512]
    errors = []
    for lesion in phantom.lesions:
        here = phantom.truth_hu[lesion.z]
        distance = np.hypot(rows - lesion.y, columns - lesion.x) * phantom.spacing_mm
        ring = np.abs(distance - lesion.radius_mm - 1.6) < 0.6
        core = here[distance < 0.5 * lesion.radius_mm].mean()
        errors.append(core - here[ring].mean() - lesion.contrast_hu)
    # The liver's texture (SD 4 to 7 HU over 1 to 4 mm, 3 HU over 14 mm) is in core and ring.
    assert np.abs(errors).max() < 15
    assert abs(np.mean(errors)) < 5


def test_lesions_are_of_the_stated_kinds(phantom: Phantom) -> None:
    for lesion in phantom.lesions:
        assert 2 <= lesion.radius_mm <= 8
        assert -60 <= lesion.contrast_hu <= -15 or 20 <= lesion.contrast_hu <= 40
        # In the liver, which is on the left of the image.
        assert lesion.x < 340


def test_lesions_keep_apart_and_inside() -> None:
    liver = np.zeros((24, 90, 90), bool)
    liver[:, 10:80, 10:80] = True
    lesions = place_lesions(np.random.default_rng(0), liver, 0.75, 2.0)
    assert len(lesions) >= 8
    for i, a in enumerate(lesions):
        edge = min(a.y - 10, a.x - 10, 79 - a.y, 79 - a.x) * 0.75
        assert edge > a.radius_mm
        for b in lesions[:i]:
            apart = math.hypot((a.y - b.y) * 0.75, (a.x - b.x) * 0.75, (a.z - b.z) * 2.0)
            assert apart > a.radius_mm + b.radius_mm


def test_size_changes_the_sampling_not_the_field() -> None:
    small = make_phantom(1, slices=1, size=96)
    assert small.spacing_mm == pytest.approx(FIELD_OF_VIEW_MM / 96)
    large = make_phantom(1, slices=1, size=384)
    averaged = large.truth_hu.reshape(1, 96, 4, 96, 4).mean((2, 4))
    body = [float(np.mean(hu > -300)) for hu in (small.truth_hu, averaged)]
    assert body[0] == pytest.approx(body[1], rel=0.1)


def test_impossible_sizes_are_refused() -> None:
    for options in ({"slices": 0}, {"size": 0}, {"interval_mm": 0.0}, {"spacing_mm": -1.0}):
        with pytest.raises(InputError, match="above 0"):
            make_phantom(1, **options)
