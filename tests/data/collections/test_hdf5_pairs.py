"""Pairs in HDF5: two datasets of one file, and nothing from another file."""

import fake_dicom
import h5py
import numpy as np
import pytest

from cpca_jax.data.collections import sources
from cpca_jax.data.collections.sources import Inputs
from cpca_jax.errors import ConfigError, VolumeError
from cpca_jax.preparation import prepare

FULL, LOW = (
    fake_dicom.body(4, noise_hu=noise_hu, seed=seed).clip(-1024).astype(np.int16)
    for noise_hu, seed in ((10.0, 1), (20.0, 2))
)


def silent(items, description, total):
    return items


def found(folder):
    return sources.gather(Inputs(folder), track=silent).found


def write(path, **datasets):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


@pytest.mark.parametrize(
    ("low", "full", "dtype"),
    [
        ("data", "label", np.float32),
        ("input", "target", np.int16),
        ("input", "label", np.float64),
        ("low", "full", np.int32),
        ("quarter", "full", np.int16),
        ("ldct", "ndct", np.int16),
    ],
)
def test_pairs(tmp_path, low, full, dtype):
    arrays = {low: LOW.astype(dtype), full: FULL.astype(dtype)}
    write(tmp_path / "in" / "L067.h5", mask=FULL > 0, **arrays)
    lines = []
    made = prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out", say=lines.append)
    assert "found: HDF5, own folders: 2 series" in lines
    (one,) = made.series
    assert (one.patient, one.placement, one.spacing_mm) == ("L067", "single", None)
    np.testing.assert_array_equal(one.full, FULL)
    np.testing.assert_array_equal(one.low, LOW)
    assert one.centres(1).size == 4
    assert one.centres(3).size == 0


def test_a_sidecar_makes_neighbours(tmp_path):
    write(tmp_path / "in" / "L067.hdf5", data=LOW, label=FULL)
    (tmp_path / "in" / "L067.json").write_text('{"interval_mm": 2}')
    (one,) = prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out").series
    assert one.centres(3).tolist() == [1, 2]


def test_datasets_that_are_no_pair(tmp_path):
    write(tmp_path / "a.h5", data=LOW, label=FULL, target=FULL)
    write(tmp_path / "b.h5", data=LOW)
    write(tmp_path / "c.h5", data=LOW, label=FULL[0])
    write(tmp_path / "d.h5", data=LOW, label=np.array([b"x", b"y"]))
    write(tmp_path / "e.h5", **{"data": LOW, "label/inside": FULL})
    (tmp_path / "f.h5").write_text("text")
    write(tmp_path / "g.h5", data=LOW, label=h5py.Empty("f"))
    write(tmp_path / "h.h5", data=LOW, label=FULL)
    one = found(tmp_path)
    assert len(one.scans) == 2
    assert one.refused == (
        "a.h5: has 2 datasets for the full dose, must have one of label, target, full, ndct",
        "b.h5: has 0 datasets for the full dose, must have one of label, target, full, ndct",
        "c.h5: is 48 x 48, must have the axes (n y x)",
        "d.h5: holds |S1, must hold whole or floating-point numbers",
        "e.h5: label is a group, must be a dataset",
        "f.h5: is no HDF5 file, or is damaged",
        "g.h5: is a single number, must have the axes (n y x)",
    )


def test_nothing_is_read_from_another_file(tmp_path):
    secret = write(tmp_path / "secret" / "other.h5", label=FULL)
    raw = tmp_path / "secret" / "raw"
    raw.write_bytes(FULL.tobytes())
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in" / "a.h5", "w") as file:
        file["data"] = LOW
        file["label"] = h5py.ExternalLink(str(secret), "label")
    with h5py.File(tmp_path / "in" / "b.h5", "w") as file:
        file["data"] = LOW
        file.create_dataset(
            "label", FULL.shape, np.int16, external=[(str(raw), 0, h5py.h5f.UNLIMITED)]
        )
    layout = h5py.VirtualLayout(FULL.shape, np.int16)
    layout[:] = h5py.VirtualSource(str(secret), "label", FULL.shape)
    with h5py.File(tmp_path / "in" / "c.h5", "w") as file:
        file["data"] = LOW
        file.create_virtual_dataset("label", layout)
    with h5py.File(tmp_path / "in" / "d.h5", "w") as file:
        file["data"] = LOW
        file["label"] = h5py.SoftLink("/data")
    write(tmp_path / "in" / "e.h5", data=LOW, label=FULL)
    got = found(tmp_path / "in")
    assert got.refused == (
        "a.h5: label is a link, must be a dataset",
        "b.h5: label lies in another file, must lie in this one",
        "c.h5: label lies in another file, must lie in this one",
        "d.h5: label is a link, must be a dataset",
    )
    # The link is also refused when the file changes after it was found.
    with h5py.File(tmp_path / "in" / "e.h5", "a") as file:
        del file["label"]
        file["label"] = h5py.ExternalLink(str(secret), "label")
    full = next(one for one in got.scans if one.dose_level == "full")
    with pytest.raises(VolumeError, match=r"e.h5: label is a link"):
        full.read()


def test_values_that_are_not_hu(tmp_path):
    write(tmp_path / "L067.h5", data=(LOW + 1024) / 4096, label=(FULL + 1024) / 4096)
    low, full = found(tmp_path).scans
    for one in (low, full):
        with pytest.raises(VolumeError, match=r"values lie between 0 and .*, must be HU"):
            one.read()


def test_names_that_tell_both_doses_take_no_dose_from_flags(tmp_path):
    write(tmp_path / "in" / "L067.h5", data=LOW, label=FULL)
    with pytest.raises(ConfigError, match="HDF5 files tell their dose themselves; give --input"):
        sources.gather(Inputs(full=tmp_path / "in"), track=silent)


def test_what_is_no_pair_is_left_to_lodopab(tmp_path):
    (tmp_path / "observation_train_000.hdf5").write_bytes(b"never opened")
    with h5py.File(tmp_path / "ground_truth_train_000.hdf5", "w") as file:
        file["data"] = np.full((1, 362, 362), 0.2, np.float32)
    assert sources.recognise(tmp_path) == "LoDoPaB"
