"""Sorted series from a folder of files."""

import os
import shutil

import fake_dicom
import numpy as np
import pytest

from cpca_jax.data import neighbours
from cpca_jax.data.dicom import search
from cpca_jax.errors import DicomError

VOLUME = fake_dicom.body(5, noise_hu=20.0, size=16)


def test_slices_are_sorted_by_geometry(tmp_path):
    """Names and InstanceNumber contradict the geometry, and SliceLocation has the other sign."""
    for z, name in enumerate(["a b", "9.dcm", "größe.IMA", "0", "noext"]):
        fake_dicom.write_slice(
            tmp_path / name,
            VOLUME[z],
            position_mm=2.0 * z,
            InstanceNumber=7 - z,
            SliceLocation=-2.0 * z,
        )
    (found,) = search.find_series(tmp_path).series
    assert found.positions_mm == (0.0, 2.0, 4.0, 6.0, 8.0)
    assert found.steps_mm == (2.0,) * 4
    np.testing.assert_array_equal(found.read(), np.maximum(VOLUME, -1024))


def test_one_folder_with_many_series(tmp_path):
    changes = [
        {},
        {"ConvolutionKernel": "D45f"},
        {"SliceThickness": 1.0},
        {"SeriesInstanceUID": "9.9"},
        {"PixelSpacing": [0.5, 0.5]},
        {"ImageOrientationPatient": [1, 0, 0, 0, 0.8, 0.6]},
        {"PatientID": "other"},
    ]
    for number, change in enumerate(changes):
        for z in range(2):
            path = tmp_path / f"{number}-{z}"
            fake_dicom.write_slice(path, VOLUME[z], position_mm=3.0 * z, **change)
    fake_dicom.write_slice(tmp_path / "small", VOLUME[0, :8])
    found = search.find_series(tmp_path).series
    assert sorted(len(one.headers) for one in found) == [1] + [2] * len(changes)


def test_missing_uids_are_no_obstacle(tmp_path):
    fake_dicom.write_series(tmp_path, VOLUME, SeriesInstanceUID="", SOPInstanceUID="")
    (found,) = search.find_series(tmp_path).series
    assert len(found.headers) == 5
    assert found.first.series_key == found.first.sop_key == ""


def test_what_is_no_slice_is_counted(tmp_path):
    fake_dicom.write_series(tmp_path, VOLUME)
    fake_dicom.write_slice(tmp_path / "scout", VOLUME[0], ImageType=["ORIGINAL", "LOCALIZER"])
    fake_dicom.write_slice(tmp_path / "mr.dcm", VOLUME[0], Modality="MR")
    (tmp_path / "notes.txt").write_text("x" * 200)
    (tmp_path / ".DS_Store").write_text("hidden")
    (tmp_path / "DICOMDIR").write_text("never opened")
    found = search.find_series(tmp_path)
    assert len(found.series) == 1
    assert len(found.series[0].headers) == 5
    assert (found.localizers, found.foreign) == (1, 1)
    assert found.other == ("mr.dcm: Modality is MR, must be CT; not a CT image",)
    assert not found.refused


def test_identical_copies_are_left_out(tmp_path):
    fake_dicom.write_series(tmp_path, VOLUME)
    shutil.copy(tmp_path / "CT.0001.IMA", tmp_path / "copy")
    (found,) = search.find_series(tmp_path).series
    assert (len(found.headers), found.duplicates) == (5, 1)


def test_different_pixels_at_one_place_are_refused(tmp_path):
    fake_dicom.write_series(tmp_path / "good", VOLUME)
    fake_dicom.write_series(tmp_path / "bad", VOLUME)
    fake_dicom.write_slice(tmp_path / "bad" / "other", VOLUME[0], position_mm=4.001)
    found = search.find_series(tmp_path)
    assert len(found.series) == 1
    (message,) = found.refused
    assert "CT.0003.IMA and other have different pixels" in message
    assert "B30f 3 mm" in message


def test_nothing_usable(tmp_path):
    with pytest.raises(DicomError, match="absent: is not a folder"):
        search.find_series(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DicomError, match=r"no usable CT series among 1 files \(1 not DICOM"):
        search.find_series(tmp_path)
    fake_dicom.write_slice(tmp_path / "a", VOLUME[0], RescaleSlope=None)
    with pytest.raises(DicomError, match="first refused: a: RescaleSlope is missing"):
        search.find_series(tmp_path)


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    fake_dicom.write_series(tmp_path / "elsewhere", VOLUME)
    root = tmp_path / "root"
    root.mkdir()
    os.symlink(tmp_path / "elsewhere", root / "linked")
    os.symlink(root, root / "loop")
    (found,) = search.find_series(root).series
    assert len(found.headers) == 5
    assert found.duplicates == 0


def test_file_that_changes_while_being_read(tmp_path):
    fake_dicom.write_series(tmp_path, VOLUME)
    (found,) = search.find_series(tmp_path).series
    fake_dicom.write_slice(found.headers[2].path, VOLUME[2], position_mm=99.0)
    with pytest.raises(DicomError, match=r"CT.0003.IMA: changed while being read"):
        found.read()
    found.headers[2].path.unlink()
    with pytest.raises(DicomError, match=r"CT.0003.IMA: cannot be read: No such file"):
        found.read()


@pytest.mark.parametrize(
    ("positions", "runs"),
    [
        ([], []),
        ([5.0], [(0, 1)]),
        ([0.0, 2.0, 4.0], [(0, 3)]),
        ([0.0, 2.0, 4.01, 6.01], [(0, 4)]),  # within 1 %
        ([0.0, 2.0, 4.1, 6.1], [(0, 2), (2, 4)]),
        ([0.0, 2.0, 6.0, 8.0, 10.0], [(0, 2), (2, 5)]),
        ([0.0, 72.0, 76.0, 148.0], [(0, 1), (1, 3), (3, 4)]),
    ],
)
def test_neighbour_runs(positions, runs):
    assert neighbours.neighbour_runs(positions) == runs


def test_slices_far_apart_are_no_neighbours():
    assert neighbours.neighbour_runs([0.0, 10.0, 20.0], longest_mm=6.0) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.real_data
def test_real_series(real_data):
    (found,) = search.find_series(real_data / "abdomen-20").series
    assert len(found.headers) == 20
    assert set(found.steps_mm) == {2.0}
    assert found.first.thickness_mm == 3.0
    volume = found.read()
    # Neighbours resemble each other, except in a wrong order.
    steps = np.abs(np.diff(volume.astype(float), axis=0)).mean()
    assert steps < 0.8 * np.abs(volume[10:].astype(float) - volume[:10]).mean()
