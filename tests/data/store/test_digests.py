"""Damage in any file of a store is found before its volumes are used, once per process and file."""

import os
import shutil
import time

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cpca_jax.data.store import digests, reader
from cpca_jax.errors import StoreError
from cpca_jax.evaluation import comparison
from cpca_jax.runs.state import Player, TrainState
from cpca_jax.runtime.sharding import choose_devices
from cpca_jax.runtime.signals import Stop
from cpca_jax.training import cascade, experiment, loop

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return tiny.write_store(tmp_path_factory.mktemp("original") / "store")


@pytest.fixture
def store(original, tmp_path):
    return shutil.copytree(original, tmp_path / "store")


def flip(path, place, bit=0):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def aged(root):
    """Make files old enough that their times can be trusted."""
    for path in root.iterdir():
        os.utime(path, ns=(10**18, 10**18))


def contents(root):
    """Return everything that a program can learn from a store."""
    opened = reader.open_store(root)
    told = [opened.fingerprint]
    for split in SPLITS:
        for series in opened.split(split):
            told += [repr(reader._fields(series)), series.low.tobytes(), series.full.tobytes()]
    return told


def test_every_flipped_bit_is_found_or_harmless(original, store):
    """Flips at many places of each file, every bit of the manifest's first and last lines."""
    sound, found, harmless = contents(original), 0, 0
    random = np.random.default_rng(20171119)
    for path in sorted(store.iterdir()):
        data = path.read_bytes()
        places = [(int(random.integers(len(data))), int(random.integers(8))) for _ in range(60)]
        places += [(place, 0) for place in range(0, 130, 3)]  # the header of an array
        if path.name == "manifest.json":
            edges = [*range(70), *range(len(data) - 90, len(data))]
            places += [(place, bit) for place in edges for bit in range(8)]
        for place, bit in places:
            flip(path, place, bit)
            try:
                assert contents(store) == sound, f"{path.name}: byte {place}, bit {bit}"
                harmless += 1
            except StoreError as error:
                assert str(error).startswith("store")
                found += 1
            path.write_bytes(data)
    assert contents(store) == sound
    assert found > 1000
    assert harmless < found / 100  # the last digit of a number, at most


@pytest.mark.parametrize("key", ["positions_mm", "split", "dose", "kernel", "sha256", "version"])
def test_a_changed_value_of_the_manifest_is_refused(store, key):
    """Each of these values would be possible in itself."""
    path = store / "manifest.json"
    text = path.read_text()
    before, after = {
        "positions_mm": ("    12.0\n", "    13.0\n"),
        "split": ('"split": "test"', '"split": "train"'),
        "dose": ('"dose": 0.25', '"dose": 0.26'),
        "kernel": ('"kernel": "simulated"', '"kernel": "simulatee"'),
        "sha256": ('"sha256"', '"sha255"'),
        "version": ('"version": 3', '"version": 2'),
    }[key]
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(StoreError, match=r"store/manifest.json: "):
        reader.open_store(store)


def test_only_what_is_used_is_read(store):
    flip(store / "phantom-002.low.npy", -1)
    opened = reader.open_store(store)
    opened.split("train")
    opened.split("validation")
    with pytest.raises(
        StoreError, match=r"store: phantom-002.low.npy has SHA-256 .* copy it again"
    ):
        opened.split("test")


def test_a_file_is_read_once_and_again_after_any_change(store, monkeypatch):
    read = []
    check = digests._check
    monkeypatch.setattr(
        digests, "_check", lambda root, file, bar: (read.append(file.file), check(root, file, bar))
    )
    reader.open_store(store).split("train")
    first = ["phantom-000.low.npy", "phantom-000.full.npy"]
    assert read == first
    time.sleep(0.01)
    monkeypatch.setattr(digests, "_STEP_NS", 0)
    reader.open_store(store).split("train")
    assert read == 2 * first, "so young a file may have changed without a new time"
    reader.open_store(store).split("train")
    assert read == 2 * first
    path = store / first[1]
    times = path.stat()
    flip(path, -1)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had been written
    with pytest.raises(StoreError, match="SHA-256"):
        reader.open_store(store).split("train")
    flip(path, -1)
    reader.open_store(store).split("train")


def test_a_sound_copy_does_not_vouch_for_another(original, store, monkeypatch):
    monkeypatch.setattr(digests, "_STEP_NS", 0)
    reader.open_store(original).split("train")
    flip(store / "phantom-000.full.npy", -1)
    with pytest.raises(StoreError, match="SHA-256"):
        reader.open_store(store).split("train")


def test_a_volume_that_cannot_be_read_is_named(store):
    opened = reader.open_store(store)
    path = store / "phantom-000.full.npy"
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match=r"store: phantom-000.full.npy cannot be read: Is a dir"):
        opened.split("train")


def damaged(root, split):
    flip(root / f"phantom-{SPLITS.index(split):03d}.low.npy", 5000, 6)
    return root


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_training_refuses_a_damaged_volume(store, split):
    with pytest.raises(StoreError, match="SHA-256"):
        experiment.assemble(tiny.configuration(damaged(store, split)))


def test_a_cascade_refuses_a_damaged_volume(store, tmp_path):
    chosen = tiny.configuration(damaged(store, "train"), model__name="cascade")
    with pytest.raises(StoreError, match="SHA-256"):
        cascade.train(chosen, tmp_path / "run")


def test_an_evaluation_refuses_a_damaged_volume(store, tmp_path):
    choices = comparison.EvaluationOptions(network="random", tap="relu1_2")
    with pytest.raises(StoreError, match="SHA-256"):
        comparison.compare([], damaged(store, "test"), tmp_path / "out", choices)
    assert not (tmp_path / "out").exists()


def change_in_place(path):
    with path.open("r+b") as stream:
        stream.seek(-2, os.SEEK_END)
        stream.write(b"\x01\x02")


def test_what_changes_in_use_is_found_unless_it_cannot_reach_the_process(store):
    opened = reader.open_store(store)
    opened.split("train")
    opened.require_unchanged()
    change_in_place(store / "phantom-002.full.npy")  # not in use
    opened.require_unchanged()
    for name in ("phantom-000.full.npy", "phantom-000.low.npy"):
        (store / name).rename(store / f"old-{name}")
    opened.require_unchanged()
    (store / "phantom-000.full.npy").write_bytes(b"another file")
    opened.require_unchanged()
    (store / "phantom-000.full.npy").unlink()
    for name in ("phantom-000.full.npy", "phantom-000.low.npy"):
        (store / f"old-{name}").rename(store / name)
    change_in_place(store / "phantom-000.full.npy")
    with pytest.raises(StoreError, match=r"phantom-000.full.npy has SHA-256"):
        opened.require_unchanged()


def test_a_training_saves_nothing_that_it_learnt_from_changed_volumes(store, tmp_path):
    parts = experiment.assemble(tiny.configuration(store))
    placement = choose_devices(2, wanted=1)
    training = loop._Training(parts, placement, tmp_path / "run", Stop(), origin={})
    change_in_place(store / "phantom-000.full.npy")
    with pytest.raises(StoreError, match=r"phantom-000.full.npy has SHA-256"):
        training._save(TrainState(jnp.int32(1), Player({}, {}), None))
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_a_long_check_shows_its_progress(store, monkeypatch, capsys):
    monkeypatch.setattr(digests, "_QUIET_SECONDS", 0.0)
    monkeypatch.setattr(digests, "_CHUNK", 4096)
    reader.open_store(store).split("train")
    assert "checking the store's volumes, MiB: 1" in capsys.readouterr().out
