"""An interrupted preparation goes on, and gives the same store as an uninterrupted one."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref

import fake_dicom
import numpy as np
import pytest
from conftest import CHECKOUT

from cpca_jax.data.collections import sources
from cpca_jax.data.collections.sources import Inputs
from cpca_jax.data.collections.splits import SplitChoice
from cpca_jax.data.dicom.series import Series
from cpca_jax.data.store import reader
from cpca_jax.data.store.manifest import SeriesInfo
from cpca_jax.data.store.writer import StoreWriter
from cpca_jax.errors import StoreError
from cpca_jax.preparation import pair_reader, prepare

PATIENTS = ("L001", "L002", "L003")


@pytest.fixture
def collection(tmp_path):
    for patient in PATIENTS:
        fake_dicom.write_pair(tmp_path / "in" / patient, PatientID=patient)
    return tmp_path / "in"


def prepare_collection(collection, output, **options):
    return prepare.prepare_scans(Inputs(collection), output, **options)


class Interrupting:
    """A counting reader of series that is interrupted at the series of this number."""

    def __init__(self, monkeypatch, *, at=None):
        self.read, self.count, self.at = Series.read, 0, at

        def counted(one):
            if self.count == self.at:
                raise KeyboardInterrupt
            self.count += 1
            return self.read(one)

        monkeypatch.setattr(Series, "read", counted)


def interrupt(monkeypatch, collection, output, at, **options):
    with monkeypatch.context() as patch:
        Interrupting(patch, at=at)
        with pytest.raises(KeyboardInterrupt):
            prepare_collection(collection, output, **options)
    assert not output.exists()


def test_finished_series_are_not_read_again(tmp_path, collection, monkeypatch):
    whole = prepare_collection(collection, tmp_path / "whole")
    interrupt(monkeypatch, collection, tmp_path / "out", 4)  # in the last of three pairs
    assert (tmp_path / ".out.partial").stat().st_mode & 0o777 == 0o700
    lines = []
    with monkeypatch.context() as patch:
        reader = Interrupting(patch)
        made = prepare_collection(collection, tmp_path / "out", say=lines.append)
    assert reader.count == 2
    assert sum("finished before" in line for line in lines) == 2
    assert made.fingerprint == whole.fingerprint
    names = [sorted(p.name for p in (tmp_path / n).iterdir()) for n in ("out", "whole")]
    assert names[0] == names[1]
    assert len(names[0]) == 2 * len(PATIENTS) + 2  # arrays, manifest and page, nothing else
    assert not (tmp_path / ".out.partial").exists()
    for name in ("manifest.json", "prepare.html"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_changed_input_is_read_again(tmp_path, collection, monkeypatch):
    interrupt(monkeypatch, collection, tmp_path / "out", 4)
    volume = fake_dicom.body(5, noise_hu=10.0, seed=9)
    fake_dicom.write_series(collection / "L001" / "full_3mm", volume, PatientID="L001")
    with monkeypatch.context() as patch:
        reader = Interrupting(patch)
        made = prepare_collection(collection, tmp_path / "out")
    assert reader.count == 4  # the pair that changed and the pair that was not finished
    assert made.fingerprint == prepare_collection(collection, tmp_path / "again").fingerprint


@pytest.mark.parametrize("first", ["comes", "goes"])
def test_series_whose_names_shift_are_not_mixed(tmp_path, monkeypatch, first):
    """Series of one patient and kernel are numbered; the first one moves all others."""

    def write(part, start):
        for level, noise_hu, seed in (("full", 10.0, 1), ("quarter", 20.0, 2)):
            fake_dicom.write_series(
                tmp_path / "in" / part / f"{level}_3mm",
                fake_dicom.body(3, noise_hu=noise_hu, seed=seed + int(start)),
                positions_mm=[start, start + 2, start + 4],
                PatientID="L001",
            )

    for start, part in ((100.0, "b"), (200.0, "c"), (300.0, "d")):
        write(part, start)
    interrupt(monkeypatch, tmp_path / "in", tmp_path / "out", 4)
    if first == "comes":
        write("a", 0.0)
    else:
        shutil.rmtree(tmp_path / "in" / "b")
    made = prepare_collection(tmp_path / "in", tmp_path / "out")
    starts = [0.0, 100.0, 200.0, 300.0] if first == "comes" else [200.0, 300.0]
    assert [one.positions_mm[0] for one in made.series] == starts
    assert made.fingerprint == prepare_collection(tmp_path / "in", tmp_path / "again").fingerprint
    reader.open_store(tmp_path / "out", verify=True)


def test_changed_flags_are_not_mixed(tmp_path, monkeypatch):
    root = tmp_path / "in"
    for patient in PATIENTS:
        volume = fake_dicom.body(2, noise_hu=4.0, size=64)
        fake_dicom.write_series(root / patient, volume, PatientID=patient, PixelSpacing=[4, 4])
    interrupt(monkeypatch, root, tmp_path / "out", 2, simulate_dose=0.5)
    with monkeypatch.context() as patch:
        reader = Interrupting(patch)
        made = prepare_collection(root, tmp_path / "out", simulate_dose=0.25)
    assert reader.count == 3
    assert {one.dose for one in made.series} == {0.25}
    # With another split of the same series nothing is read, and the new split holds.
    interrupt(monkeypatch, root, tmp_path / "b", 2, simulate_dose=0.5)
    choice = SplitChoice(test=["L001"])
    again = prepare_collection(root, tmp_path / "b", simulate_dose=0.5, choice=choice)
    assert [one.patient for one in again.split("test")] == ["L001"]


def test_a_damaged_array_is_made_again(tmp_path, collection, monkeypatch):
    interrupt(monkeypatch, collection, tmp_path / "out", 4)
    array = next((tmp_path / ".out.partial").glob("L001*.full.npy"))
    data = bytearray(array.read_bytes())
    data[-1] ^= 1
    array.write_bytes(data)
    with (tmp_path / ".out.partial" / "progress.jsonl").open("a") as stream:
        stream.write('{"key": "torn')
    with (tmp_path / ".out.partial" / "progress.jsonl").open("ab") as stream:
        stream.write(b"\xff\xfe")
    made = prepare_collection(collection, tmp_path / "out")
    reader.open_store(tmp_path / "out", verify=True)
    assert made.fingerprint == prepare_collection(collection, tmp_path / "again").fingerprint


def test_two_writers_of_one_store(tmp_path):
    with StoreWriter(tmp_path / "out") as first:
        with pytest.raises(StoreError, match="out: is being written by another"):
            StoreWriter(tmp_path / "out").__enter__()
        make_one(first)
    assert len(reader.open_store(tmp_path / "out").series) == 1


def make_one(writer):
    info = SeriesInfo("a", "a", "train", "k", 1.0, (1.0, 1.0), (0.0,))
    volume = np.zeros((1, 4, 4), np.int16)
    writer.add(info, volume, volume)


@pytest.mark.slow
def test_one_pair_at_a_time_is_in_memory(tmp_path, collection, monkeypatch):
    """The volumes of a pair are gone before the next is read."""
    alive = []
    read = Series.read

    def watched(one):
        gc.collect()
        assert sum(ref() is not None for ref in alive) <= 1
        volume = read(one)
        alive.append(weakref.ref(volume))
        return volume

    monkeypatch.setattr(Series, "read", watched)
    prepare_collection(collection, tmp_path / "out")
    assert len(alive) == 6


def test_what_it_is_made_from_is_in_the_key(tmp_path, collection):
    got = sources.gather(Inputs(collection), track=lambda items, *_: items)
    (pair, *_), _, _ = sources.choose_pairs(got, simulate=False)
    keys = {
        pair_reader.Reader(None, dose, seed, 0)._key(pair)
        for dose, seed in ((None, 0), (0.5, 0), (0.25, 0), (None, 1))
    }
    assert len(keys) == 4


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path):
    for number in range(12):
        fake_dicom.write_pair(
            tmp_path / "in" / f"L{number:03d}", PatientID=f"L{number:03d}", slices=8
        )
    command = [sys.executable, str(CHECKOUT / "prepare.py"), "--input", str(tmp_path / "in")]
    process = subprocess.Popen([*command, "--output", str(tmp_path / "out")], cwd=CHECKOUT)
    progress = tmp_path / ".out.partial" / "progress.jsonl"
    while process.poll() is None and not (progress.exists() and progress.stat().st_size):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    again = subprocess.run(
        [*command, "--output", str(tmp_path / "out")],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "finished before" in again.stdout
    whole = prepare_collection(tmp_path / "in", tmp_path / "whole")
    assert reader.open_store(tmp_path / "out", verify=True).fingerprint == whole.fingerprint
