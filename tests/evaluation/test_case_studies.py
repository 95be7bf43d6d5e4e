"""The case studies of the deck: slice, place, and contents of the figure."""

import dataclasses

import matplotlib.image
import numpy as np
import pytest
import tiny

from cpca_jax.data.store.reader import open_store
from cpca_jax.evaluation import case_figure, case_studies
from cpca_jax.metrics.protocols import get_protocol
from cpca_jax.weights import feature_network


def lesion(z, radius_mm, y=20.0, x=15.0):
    return {"z": z, "y": y, "x": x, "radius_mm": radius_mm, "contrast_hu": -30.0}


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    splits = ("train", "test", "test", "test")
    root = tiny.write_store(tmp_path_factory.mktemp("cases") / "store", splits)
    return open_store(root).split("test")


def with_lesions(series, *lesions):
    return dataclasses.replace(series, lesions=lesions)


def test_the_slice_is_that_of_the_largest_lesion_among_those_chosen(series):
    one = with_lesions(series[0], lesion(1.0, 3.0), lesion(2.4, 5.0), lesion(6.0, 8.0))
    assert case_studies.case_slice(one, range(7)) == 6
    assert case_studies.case_slice(one, range(5)) == 2
    assert case_studies.case_slice(one, range(3, 6)) == 4
    assert case_studies.case_slice(series[0], range(7)) == 3


def test_the_region_is_the_lesions_or_the_busiest_tissue(series):
    one = with_lesions(series[0], lesion(2.0, 3.0, 11.0, 12.0), lesion(2.0, 5.0, 21.0, 22.0))
    assert case_studies.case_region(one, 2, one.full[2]) == (21, 22)
    expected = case_figure.busiest_place(one.full[3])
    assert case_studies.case_region(one, 3, one.full[3]) == expected


def test_the_patients_with_the_largest_lesions_are_drawn(series, tmp_path, monkeypatch):
    drawn = []

    def remember(path, images, scores, roi, **named):
        drawn.append((named["title"], named["display"], list(images), sorted(scores), roi))

    monkeypatch.setattr(case_figure, "draw_case", remember)
    chosen = [
        with_lesions(series[0], lesion(1.0, 3.0)),
        series[1],
        with_lesions(series[2], lesion(5.0, 6.0)),
    ]
    features = feature_network.load_feature_network("random", tap="relu1_2", weights="", seed=0)
    case_studies.draw_case_studies(tmp_path, [], chosen, get_protocol("deck"), features)
    assert [title for title, *_ in drawn] == [
        "phantom-003, slice 5: lesion of radius 6.0 mm, -30 HU",
        "phantom-001, slice 1: lesion of radius 3.0 mm, -30 HU",
    ]
    assert [str(display) for _, display, *_ in drawn] == ["[-180, 200] HU", "[-160, 240] HU"]
    assert drawn[0][2:] == (["low dose", "full dose"], ["low dose"], (20, 15))


def test_six_methods_stand_in_two_rows_above_their_zoomed_regions(tmp_path):
    """The frame's region holds a bright square, which fills the zoomed panels only."""
    image = np.full((200, 200), -1000.0)
    image[30:130, 30:130] = 200.0
    images = {f"method {k}": image for k in range(6)}
    path = tmp_path / "case.png"
    case_figure.draw_case(path, images, {}, (80, 80), title="a phantom", columns=3)
    picture = matplotlib.image.imread(path)[..., 0]
    height, width = picture.shape
    bright = [
        [picture[r * height // 4 : (r + 1) * height // 4, c * width // 3 : (c + 1) * width // 3]
         for c in range(3)]
        for r in range(4)
    ]  # fmt: skip
    shares = np.array([[(part > 0.85).mean() for part in row] for row in bright])
    assert (shares[2:] > shares[:2] + 0.2).all()
