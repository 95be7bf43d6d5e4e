"""Lesions put into volumes: contrast, places, matched scans, ROIs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cpca_jax.data.dicom import search
from cpca_jax.errors import InputError
from cpca_jax.simulation.beams import FanBeam
from cpca_jax.simulation.lesions import (
    LesionTask,
    Limits,
    Place,
    choose_places,
    extract_rois,
    insert_lesions,
    roi_edge,
)
from cpca_jax.simulation.matched_scans import Background, MatchedScans, matched_scans, phantom_scans
from cpca_jax.simulation.physics import Scanner
from cpca_jax.units import whole_hu

SPACING_MM, INTERVAL_MM = 1.0, 3.0
# Few rays, for coarse pixels: the same physics fast.
SMALL = Scanner(beam=FanBeam().coarser(8), cutoff_per_mm=0.17)


def tissue(slices: int = 6, size: int = 96) -> np.ndarray:
    """Return a square of soft tissue of 60 HU in air, with a bone and a ramp in its right half."""
    volume = np.full((slices, size, size), -1000.0, np.float32)
    volume[:, 8:-8, 8:-8] = 60.0
    volume[:, 40:56, 60:70] = 800.0
    volume[:, 8:40, 56:-8] = np.linspace(0, 300, size - 64)
    return volume


def test_a_sphere_has_its_contrast_and_its_size() -> None:
    task = LesionTask(6.0, -30.0)
    place = Place(3, 40, 50)
    flat = np.full((7, 96, 96), 50, np.int16)
    found = insert_lesions(flat, task, [place], spacing_mm=SPACING_MM, interval_mm=INTERVAL_MM)
    added = found - 50
    assert found.dtype == np.float32
    assert added[3, 40, 50] == pytest.approx(-30, rel=0.02)
    # Blur keeps the sum: areas are those of a sphere of 6 mm 0, 3 and 6 mm from its middle.
    areas = added.sum(axis=(1, 2)) / -30
    np.testing.assert_allclose(areas[[3, 4, 2]], np.pi * np.array([36, 27, 27]), rtol=0.03)
    # Its pole, softened by half a pixel, leaves 5 of the middle's 113.
    assert areas[1] == pytest.approx(0, abs=6)
    assert areas[6] == pytest.approx(0, abs=0.01)


def test_a_disk_is_the_same_in_all_its_slices() -> None:
    task = LesionTask(6.0, 20.0, "disk")
    flat = np.zeros((7, 96, 96), np.float32)
    places = [Place(3, 40, 50), Place(0, 20, 20)]
    added = insert_lesions(flat, task, places, spacing_mm=SPACING_MM, interval_mm=INTERVAL_MM)
    near = added[:, 28:53, 38:63]
    np.testing.assert_allclose(near[1:6], np.broadcast_to(near[3], (5, 25, 25)), atol=1e-4)
    assert near[3].sum() / 20 == pytest.approx(np.pi * 36, rel=0.03)
    assert np.abs(near[[0, 6]]).max() < 0.1
    # At the end of the volume what lies in it is there.
    assert (added[:, 20, 20] > 19).tolist() == [True] * 3 + [False] * 4


def test_the_edge_is_blurred_like_a_phantom() -> None:
    task = LesionTask(8.0, 100.0)
    flat = np.zeros((1, 128, 128), np.float32)
    image = insert_lesions(flat, task, [Place(0, 64, 64)], spacing_mm=0.7, interval_mm=2.0)[0]
    edge = image[64, 64:90]
    width = 0.7 * abs(np.diff(np.interp([-90, -10], -edge, np.arange(len(edge))))[0])
    # Pixels alone would make it 0.56 mm from 10 to 90 %; 1.62 mm measured.
    assert 0.9 < width < 1.8


def overlapping(places: list[Place], *, edge: int, slices_apart: int) -> int:
    """Count pairs of ROIs that overlap in plane with too few slices between them."""
    return sum(
        max(abs(one.y - other.y), abs(one.x - other.x)) < edge
        and abs(one.z - other.z) <= slices_apart
        for number, one in enumerate(places)
        for other in places[:number]
    )


def test_places_are_flat_soft_tissue_and_apart() -> None:
    volume = tissue()
    places = choose_places(
        volume, spacing_mm=SPACING_MM, roi_pixels=11, count=60, seed=1, slices_apart=1
    )
    every = [*places.present, *places.absent]
    assert len(set(every)) == len(every) > 30
    assert abs(len(places.present) - len(places.absent)) <= 1
    for roi in extract_rois(volume, every, 11):
        assert roi.std() < 60
        assert 0 <= roi.mean() <= 150
    assert not overlapping(every, edge=11, slices_apart=1)


def test_each_limit_keeps_out_what_it_is_for() -> None:
    def chosen(limits: Limits) -> list[Place]:
        places = choose_places(
            tissue(), spacing_mm=SPACING_MM, roi_pixels=11, count=500, seed=1, limits=limits
        )
        return [*places.present, *places.absent]

    # The bone's rim has a mean of soft tissue.
    even = chosen(Limits(gradient_hu_per_mm=1e9))
    assert extract_rois(tissue(), even, 11).std(axis=(1, 2)).max() <= 60
    # The ramp rises by 10 HU per mm, with a standard deviation of 30 HU.
    for place in chosen(Limits(sd_hu=1e9)):
        assert not (14 <= place.y < 34 and 62 <= place.x < 82)


def test_tissue_of_other_hu_is_left_alone() -> None:
    fat, soft, contrast = (np.full((2, 60, 60), hu, np.float32) for hu in (-100, 75, 200))
    wide = np.concatenate([fat, soft, contrast])
    places = choose_places(wide, spacing_mm=SPACING_MM, roi_pixels=11, count=40, seed=1)
    every = [*places.present, *places.absent]
    assert {place.z for place in every} == {2, 3}
    # Whole ROIs, though all of the slice is tissue.
    assert all(5 <= middle < 55 for place in every for middle in (place.y, place.x))


def test_the_ends_of_a_volume_get_no_places() -> None:
    wide = np.full((6, 60, 60), 75, np.float32)
    options = {"spacing_mm": SPACING_MM, "roi_pixels": 11, "count": 500, "seed": 1}
    for margin, expected in ((0, {0, 1, 2, 3, 4, 5}), (2, {2, 3})):
        places = choose_places(wide, **options, margin=margin)
        assert {place.z for place in (*places.present, *places.absent)} == expected


def test_the_seed_decides_the_places() -> None:
    first, again, other = (
        choose_places(tissue(), spacing_mm=SPACING_MM, roi_pixels=11, count=20, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert len(first.present) + len(first.absent) == 20


def test_rois_are_cut_around_their_middle() -> None:
    volume = np.arange(3 * 20 * 20).reshape(3, 20, 20)
    rois = extract_rois(volume, [Place(1, 5, 7), Place(2, 10, 10)], 5)
    assert rois.dtype == np.float64
    np.testing.assert_array_equal(rois[0], volume[1, 3:8, 5:10])
    np.testing.assert_array_equal(rois[1, 2, 2], volume[2, 10, 10])


def test_rois_reach_three_radii_of_the_largest_lesion() -> None:
    assert roi_edge([LesionTask(2.0, -5), LesionTask(5.0, -5)], spacing_mm=0.75) == 41


def test_impossible_places_and_lesions_are_refused() -> None:
    with pytest.raises(InputError, match="roi_pixels: 10; it must be odd"):
        choose_places(tissue(), spacing_mm=1.0, roi_pixels=10, count=5, seed=1)
    with pytest.raises(InputError, match="0 places of flat soft tissue"):
        choose_places(tissue() - 500, spacing_mm=1.0, roi_pixels=11, count=5, seed=1)
    with pytest.raises(InputError, match="form: 'cube' is not one of sphere, disk"):
        LesionTask(3.0, -5.0, "cube")
    with pytest.raises(InputError, match="radius_mm: 0; it must be above 0"):
        LesionTask(0.0, -5.0)


TASKS = (LesionTask(6.0, -300.0), LesionTask(4.0, 300.0, "disk"))


@pytest.fixture(scope="module")
def background() -> Background:
    y, x = np.mgrid[:96, :96] - 47.5
    water = np.where(np.hypot(y, x) < 40, 40.0, -1000.0)
    return Background(np.tile(water, (4, 1, 1)).astype(np.float32), 3.0, 3.0, noiseless=True)


def scans_of(background: Background, seed: int = 1) -> MatchedScans:
    places = choose_places(background.volume_hu, spacing_mm=3.0, roi_pixels=13, count=8, seed=1)
    return matched_scans(background, TASKS, places, dose=0.25, seed=seed, scanner=SMALL)


def test_matched_scans_differ_in_lesions_and_noise_only(background: Background) -> None:
    matched = scans_of(background)
    noise = []
    for task in TASKS:
        with_lesions = insert_lesions(
            background.volume_hu, task, matched.places.present, spacing_mm=3.0, interval_mm=3.0
        )
        scan = matched.present[task]
        # At the present places is the lesion, in both doses; at the absent ones is none.
        for volume in (scan.full, scan.low):
            for places, wanted in ((matched.places.present, True), (matched.places.absent, False)):
                middles = extract_rois(volume, places, 1).mean() - 40
                # Noise of 20 to 40 HU over four pixels, against 300 HU.
                assert (abs(middles) > 150) == wanted
        noise.append(scan.full - with_lesions)
    noise.append(matched.absent.full - background.volume_hu)
    body = background.volume_hu > 0
    for number, one in enumerate(noise):
        assert one[body].std() > 3
        for other in noise[:number]:
            assert abs(np.corrcoef(one[body], other[body])[0, 1]) < 0.1


def test_the_low_dose_is_the_noisier(background: Background) -> None:
    matched = scans_of(background)
    body = background.volume_hu > 0
    full, low = matched.absent.full[body], matched.absent.low[body]
    assert low.std() / full.std() == pytest.approx(2, rel=0.15)
    assert full.dtype == low.dtype == np.int16


def test_a_full_dose_background_keeps_its_noise(background: Background) -> None:
    scan = dataclasses.replace(background, noiseless=False)
    matched = scans_of(scan)
    np.testing.assert_array_equal(matched.absent.full, whole_hu(scan.volume_hu))
    assert (matched.absent.low[scan.volume_hu > 0] - 40).std() > 3


def test_the_seed_decides_the_scans(background: Background) -> None:
    first, again, other = (scans_of(background, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.absent.low, again.absent.low)
    assert (first.absent.low != other.absent.low).any()


def test_phantoms_of_a_study_are_different_people() -> None:
    task = LesionTask(4.0, -60.0)
    one, two = phantom_scans([task], phantoms=2, slices=2, size=128, rois=60, seed=3, scanner=SMALL)
    assert one.spacing_mm == two.spacing_mm == 3.0
    assert one.places.roi_pixels == 9
    assert np.corrcoef(one.absent.full.ravel(), two.absent.full.ravel())[0, 1] < 0.95
    assert list(one.present) == [task]
    # A lesion reaches one slice up and down: no other ROI may lie there.
    every = [*one.places.present, *one.places.absent]
    assert len(every) > 10
    assert not overlapping(every, edge=9, slices_apart=1)


@pytest.mark.real_data
def test_real_slices_have_flat_tissue_for_lesions(real_data: Path) -> None:

    (found,) = search.find_series(real_data / "abdomen-20").series
    full = found.read()
    spacing = found.first.spacing_mm[0]
    task = LesionTask(4.0, -40.0)
    edge = roi_edge([task], spacing_mm=spacing)
    places = choose_places(
        full, spacing_mm=spacing, roi_pixels=edge, count=200, seed=1, slices_apart=2
    )
    assert len(places.present) >= 30
    with_lesions = insert_lesions(full, task, places.present, spacing_mm=spacing, interval_mm=2.0)
    middles = [extract_rois(v, places.present, 1).ravel() for v in (with_lesions, full)]
    assert np.mean(middles[0] - middles[1]) == pytest.approx(-40, rel=0.05)
    untouched = extract_rois(with_lesions, places.absent, edge) - extract_rois(
        full, places.absent, edge
    )
    # The blur's ringing next to lesions was measured below 0.5 HU.
    assert np.abs(untouched).max() < 2
