"""LoDoPaB: the conversion to HU, patients, single slices."""

import h5py
import numpy as np
import pytest

from cpca_jax.data.collections import lodopab, sources
from cpca_jax.data.collections.sources import Inputs
from cpca_jax.data.collections.splits import SplitChoice
from cpca_jax.data.listing import list_files
from cpca_jax.errors import ConfigError, ScanError, VolumeError
from cpca_jax.preparation import prepare


def silent(items, description, total):
    return items


def write(folder, part, file, count, *, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).random((count, 362, 362), np.float32) * 0.3
    with h5py.File(folder / f"ground_truth_{part}_{file:03d}.hdf5", "w") as stream:
        stream["data"] = values
    (folder / f"observation_{part}_{file:03d}.hdf5").write_bytes(b"never opened")
    return values


def find(folder):
    return lodopab.find_lodopab(folder, listed=list_files(folder), level=None, track=silent)


def number(folder, part, patients):
    (folder / f"patient_ids_rand_{part}.csv").write_text("".join(f"{p}\n" for p in patients))


def test_the_constant_is_the_published_one():
    assert pytest.approx(81.35858, abs=1e-12) == lodopab.MU_MAX


def test_values_to_hu():
    """Air, water and the brightest value agree with the formula that made the set."""
    mu = np.array([0.02, 20.0, 81.35858]) / 81.35858
    np.testing.assert_allclose(lodopab.to_hu(mu), [-1000, 0, 3071], atol=1e-9)


def test_slices_of_a_patient_over_two_files(tmp_path):
    first, second = write(tmp_path, "train", 0, 128), write(tmp_path, "train", 1, 3, seed=1)
    number(tmp_path, "train", [7] * 100 + [3] * 29 + [12] * 2)
    got = sources.gather(Inputs(tmp_path), track=silent)
    assert (got.kind, got.layout) == ("LoDoPaB", "LoDoPaB")
    assert "2D only" in got.found.notes[0]
    by_patient = {one.patient: one for one in got.found.scans}
    assert {patient: one.shape[0] for patient, one in by_patient.items()} == {
        "lodopab-train-0007": 100,
        "lodopab-train-0003": 29,
        "lodopab-train-0012": 2,
    }
    values = np.concatenate([first[100:], second[:1]])
    volume = by_patient["lodopab-train-0003"].read()
    np.testing.assert_array_equal(volume, np.rint(lodopab.to_hu(values)))
    assert by_patient["lodopab-train-0003"].spacing_mm == pytest.approx(
        (0.71823, 0.71823), abs=1e-5
    )


def test_without_patients_each_part_is_one(tmp_path):
    write(tmp_path, "train", 0, 2)
    write(tmp_path, "train", 4, 2)
    write(tmp_path, "test", 0, 1)
    found = find(tmp_path)
    assert [one.patient for one in found.scans] == ["lodopab-test"] + ["lodopab-train"] * 2
    assert any("patient_ids_rand_train.csv is missing" in note for note in found.notes)


def test_it_needs_a_simulated_dose_and_has_no_neighbours(tmp_path):
    for patient, part in enumerate(("train", "test")):
        write(tmp_path / "in", part, 0, 3)
        number(tmp_path / "in", part, [patient] * 3)
    with pytest.raises(ConfigError, match=r"LoDoPaB: its low dose is sinograms.*--simulate_dose"):
        prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    made = prepare.prepare_scans(
        Inputs(tmp_path / "in"),
        tmp_path / "out",
        simulate_dose=0.25,
        choice=SplitChoice(by="lodopab"),
    )
    assert {one.patient: one.split for one in made.series} == {
        "lodopab-train-0000": "train",
        "lodopab-test-0001": "test",
    }
    for one in made.series:
        assert len(one.centres(1)) == 3
        assert len(one.centres(3)) == 0


def test_files_that_are_not_lodopab(tmp_path):
    write(tmp_path, "train", 0, 2)
    (tmp_path / "ground_truth_train_001.hdf5").write_text("text")
    with h5py.File(tmp_path / "ground_truth_train_002.hdf5", "w") as stream:
        stream["data"] = np.zeros((2, 300, 300), np.float32)
    found = find(tmp_path)
    assert len(found.scans) == 1
    assert [message.split(":")[0] for message in found.refused] == [
        "ground_truth_train_001.hdf5",
        "ground_truth_train_002.hdf5",
    ]
    with h5py.File(tmp_path / "ground_truth_train_000.hdf5", "a") as stream:
        stream["data"][0, 0, 0] = 2.0
    with pytest.raises(VolumeError, match=r"000\.hdf5: values outside 0 to 1"):
        found.scans[0].read()
    number(tmp_path, "train", [1])
    with pytest.raises(VolumeError, match=r"has 1 lines, must have one for each"):
        find(tmp_path)
    number(tmp_path, "train", ["x"])
    with pytest.raises(VolumeError, match="must hold one whole number a line"):
        find(tmp_path)
    with pytest.raises(ScanError, match="no CT images"):
        sources.recognise(empty(tmp_path))


def empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"
