"""Plain NumPy arrays as scans, and the facts in their sidecars."""

import json
import pickle

import fake_dicom
import numpy as np
import pytest

from cpca_jax.data.collections import sources
from cpca_jax.data.collections.sidecar import read_sidecar
from cpca_jax.data.collections.sources import Inputs
from cpca_jax.errors import ScanError, VolumeError
from cpca_jax.preparation import prepare


def silent(items, description, total):
    return items


def volume(noise_hu=10.0, seed=1, slices=4):
    return fake_dicom.body(slices, noise_hu=noise_hu, seed=seed).clip(-1024).astype(np.int16)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def found(folder):
    return sources.gather(Inputs(folder), track=silent).found


@pytest.mark.parametrize(
    ("full", "low", "dtype"),
    [
        ("L067_full.npy", "L067_low.npy", np.int16),
        ("L067_full.npy", "L067_quarter.npy", np.float32),
        ("full/L067.npy", "low/L067.npy", np.float64),
        ("L067/FD.npy", "L067/QD.npy", ">i2"),
    ],
)
def test_pairs(tmp_path, full, low, dtype):
    write(tmp_path / "in" / full, volume().astype(dtype))
    write(tmp_path / "in" / low, volume(20.0, 2).astype(dtype))
    (tmp_path / "in" / "notes.txt").write_text("x")
    lines = []
    made = prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out", say=lines.append)
    (one,) = made.series
    assert (one.name, one.patient, one.spacing_mm) == ("L067-unknown-0mm", "L067", None)
    np.testing.assert_array_equal(one.full, volume())
    np.testing.assert_array_equal(one.low, volume(20.0, 2))
    assert "found: NumPy, own folders: 2 series" in lines
    assert "left out: 1 files of another kind" in lines


def test_slices_lie_in_order_at_an_unknown_distance(tmp_path):
    for level, noise_hu in (("full", 10.0), ("low", 20.0)):
        write(tmp_path / "in" / f"L067_{level}.npy", volume(noise_hu, int(noise_hu)))
    made = prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out")
    (one,) = made.series
    assert (one.placement, one.positions_mm) == ("ordered", (0.0, 1.0, 2.0, 3.0))
    assert one.centres(3).tolist() == [1, 2]
    page = (tmp_path / "out" / "prepare.html").read_text()
    assert "unknown" in page
    assert "1 mm" not in page


@pytest.mark.parametrize("beside", ["L067", "L067_full"])
def test_a_sidecar_tells_the_rest(tmp_path, beside):
    said = {"patient": "Jane Doe", "kernel": "B30f", "thickness_mm": 3, "spacing_mm": [0.7, 0.8]}
    write(tmp_path / "L067_full.npy", volume())
    (tmp_path / f"{beside}.json").write_text(json.dumps(said | {"interval_mm": 25}))
    (one,) = found(tmp_path).scans
    assert one.patient.startswith("case-")
    assert (one.kernel, one.thickness_mm, one.spacing_mm) == ("B30f", 3.0, (0.7, 0.8))
    assert (one.placement, one.positions_mm) == ("measured", (0.0, 25.0, 50.0, 75.0))
    assert "Jane" not in one.label
    assert [path.name for path in one.files] == ["L067_full.npy", f"{beside}.json"]


def test_a_changed_sidecar_is_not_taken_over(tmp_path):
    """An interrupted preparation may have stored the series with the old contents."""
    from cpca_jax.data.collections.pairs import Pair
    from cpca_jax.preparation.pair_reader import Reader

    write(tmp_path / "L067_full.npy", volume())
    keys = set()
    for text in (None, '{"slope": 1}', '{"slope": 1.0}', '{"slope": 2}'):
        if text:
            (tmp_path / "L067.json").write_text(text)
        (one,) = found(tmp_path).scans
        keys.add(Reader(None, 0.25, 0, 0)._key(Pair(one, one)))
    assert len(keys) == 4


def test_a_sidecar_scales(tmp_path):
    write(tmp_path / "L067_full.npy", (volume() + 1024) / 4096)
    (one,) = found(tmp_path).scans
    with pytest.raises(VolumeError, match=r"L067_full.npy: values lie between 0 and .*must be HU"):
        one.read()
    (tmp_path / "L067.json").write_text('{"slope": 4096, "intercept": -1024}')
    (one,) = found(tmp_path).scans
    np.testing.assert_array_equal(one.read(), volume())


def test_the_dose_needs_a_pixel_size_to_be_simulated(tmp_path):
    write(tmp_path / "in" / "L067_full.npy", volume())
    lines = []
    with pytest.raises(ScanError, match="no usable pair"):
        prepare.prepare_scans(
            Inputs(tmp_path / "in"), tmp_path / "out", simulate_dose=0.25, say=lines.append
        )
    assert (
        "refused: L067 unknown 0 mm: pixel spacing is unknown, must be known to simulate" in lines
    )


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[[None]]]), "is damaged or holds objects, must be a .npy file of numbers"),
        (volume()[0], r"is 48 x 48, must have the axes \(z y x\)"),
        (np.float32(3.0), r"is a single number, must have the axes \(z y x\)"),
        (np.zeros((0, 4, 4), np.int16), "is 0 x 4 x 4"),
        (volume() > 0, "holds bool, must hold whole or floating-point numbers"),
        (volume().astype(np.complex64), "holds complex64"),
    ],
)
def test_arrays_that_are_no_volume(tmp_path, array, message):
    np.save(tmp_path / "L067_full.npy", array, allow_pickle=True)
    with pytest.raises(
        VolumeError, match=f"no usable NumPy volume among 1.*L067_full.npy: {message}"
    ):
        found(tmp_path)


class Poisoned:
    """An object that must never be called."""

    def __reduce__(self):
        return (pytest.fail, ("was unpickled",))


@pytest.mark.parametrize("data", [pickle.dumps(Poisoned()), b"", b"\x93NUMPY\x01", b"PK\x03\x04"])
def test_files_that_are_no_arrays(tmp_path, data):
    (tmp_path / "L067_full.npy").write_bytes(data)
    with pytest.raises(VolumeError, match=r"first refused: L067_full.npy: is damaged or holds"):
        found(tmp_path)


def test_an_archive_is_no_array(tmp_path):
    np.savez(tmp_path / "a.npz", volume())
    (tmp_path / "a.npz").rename(tmp_path / "L067_full.npy")
    with pytest.raises(VolumeError, match=r"L067_full.npy: is damaged or holds objects"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: np.where(v > 0, np.nan, v), "not finite"),
        (lambda v: np.where(v > 0, np.inf, v), "not finite"),
        (lambda v: v + 1024.0, "values lie between 0 and"),
        (lambda v: v * 100.0, r"values lie between -10\d{4} and"),
        (lambda v: np.full_like(v, -1000), "values lie between -1000 and -1000"),
    ],
)
def test_values_that_cannot_be_hu(tmp_path, change, message):
    write(tmp_path / "L067_full.npy", change(volume()))
    (one,) = found(tmp_path).scans
    with pytest.raises(VolumeError, match=f"L067_full.npy: .*{message}"):
        one.read()


def test_a_file_that_changes_is_not_mixed(tmp_path):
    path = write(tmp_path / "L067_full.npy", volume())
    (one,) = found(tmp_path).scans
    write(path, volume(slices=3))
    with pytest.raises(VolumeError, match=r"L067_full.npy: changed while being read"):
        one.read()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100000, "is no JSON"),
        ("[1]", "must be an object with keys among patient, kernel, thickness_mm, spacing_mm"),
        ('{"interval": 1}', "must be an object with keys among"),
        ('{"path": "x"}', "must be an object with keys among"),
        ('{"interval_mm": 0}', "interval_mm is 0, must be above 0"),
        ('{"slope": -1}', "slope is -1, must be above 0"),
        ('{"thickness_mm": -1}', "thickness_mm is -1, must be 0 or more"),
        ('{"interval_mm": "3"}', "interval_mm must be a finite number"),
        ('{"interval_mm": NaN}', "interval_mm must be a finite number"),
        ('{"interval_mm": true}', "interval_mm must be a finite number"),
        ('{"spacing_mm": 1}', "spacing_mm must be 2 positive numbers"),
        ('{"spacing_mm": [1, 0]}', "spacing_mm is 1, 0, must be 2 positive numbers"),
        ('{"patient": 67}', "patient must be text"),
    ],
)
def test_sidecars_that_cannot_be(tmp_path, text, message):
    (tmp_path / "L067.json").write_text(text)
    with pytest.raises(VolumeError, match=rf"L067\.json: {message}") as caught:
        read_sidecar(tmp_path, ("L067_full", "L067"))
    assert str(tmp_path) not in str(caught.value)
