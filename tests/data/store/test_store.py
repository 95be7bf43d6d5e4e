"""The store: it is read as it was written, appears whole or not at all, and is refused if damaged."""

import dataclasses
import json
import pickle

import numpy as np
import pytest

from cpca_jax.data.store import reader
from cpca_jax.data.store.manifest import SeriesInfo, signed
from cpca_jax.data.store.writer import StoreWriter
from cpca_jax.errors import ConfigError, StoreError

FULL = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
INFO = SeriesInfo(
    name="L096-B30f",
    patient="L096",
    split="train",
    kernel="B30f",
    thickness_mm=3.0,
    spacing_mm=(0.75, 0.7),
    positions_mm=(0.0, 2.0, 4.0, 6.0, 8.0),
    lesions=({"z": 1.0, "y": 2.0, "x": 3.0, "radius_mm": 4.0, "contrast_hu": -20.0},),
)


def info(**changes):
    return dataclasses.replace(INFO, **changes)


def make(root, infos=(INFO,)):
    with StoreWriter(root) as writer:
        for one in infos:
            writer.add(one, FULL + 1, FULL, low_sources=["aa"], full_sources=["bb"])
    return root


def rewrite(root, change):
    path = root / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(signed(manifest)))


def test_what_is_written_is_read(tmp_path):
    root = make(tmp_path / "store", [INFO, info(name="L143", patient="L143", split="test")])
    opened = reader.open_store(root, verify=True)
    first, second = opened.series
    for field in dataclasses.fields(INFO):
        assert getattr(first, field.name) == getattr(INFO, field.name)
    np.testing.assert_array_equal(first.low, FULL + 1)
    np.testing.assert_array_equal(first.full, FULL)
    assert isinstance(first.full, np.memmap)
    assert not first.full.flags.writeable
    assert opened.split("test") == (second,)
    files = sorted(path.name for path in root.iterdir())
    arrays = [f"{n}.{dose}.npy" for n in ("L096-B30f", "L143") for dose in ("full", "low")]
    assert files == sorted([*arrays, "manifest.json"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_what_is_unknown_stays_unknown(tmp_path):
    unknown = info(spacing_mm=None, placement="ordered", positions_mm=(0.0, 1.0, 2.0, 3.0, 5.0))
    (opened,) = reader.open_store(make(tmp_path / "store", [unknown])).series
    assert (opened.spacing_mm, opened.placement) == (None, "ordered")
    assert opened.centres(3).tolist() == [1, 2]


def test_a_store_from_before_placements_is_measured(tmp_path):
    root = make(tmp_path / "store")
    rewrite(root, lambda manifest: manifest["series"][0].pop("placement"))
    assert reader.open_store(root).series[0].placement == "measured"


def test_manifest_holds_the_sources(tmp_path):
    manifest = json.loads((make(tmp_path / "store") / "manifest.json").read_text())
    assert manifest["series"][0]["low"]["sources"] == ["aa"]
    assert manifest["series"][0]["full"]["sources"] == ["bb"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_an_older_version_is_read(tmp_path, version):
    """Its manifest has no digest of its own; version 1 lists its low dose under "quarter"."""
    root = make(tmp_path / "store")
    path = root / "manifest.json"
    older = json.loads(path.read_text()) | {"version": version}
    del older["sha256"]
    if version == 1:
        older["series"][0]["quarter"] = older["series"][0].pop("low")
    path.write_text(json.dumps(older))
    (series,) = reader.open_store(root).split("train")
    np.testing.assert_array_equal(series.low, FULL + 1)
    (root / "L096-B30f.low.npy").write_bytes((root / "L096-B30f.full.npy").read_bytes())
    with pytest.raises(StoreError, match=r"L096-B30f.low.npy has SHA-256"):
        reader.open_store(root).split("train")


def test_only_the_owner_may_enter(tmp_path):
    assert make(tmp_path / "store").stat().st_mode & 0o777 == 0o700


def test_missing_split_names_those_that_exist(tmp_path):
    opened = reader.open_store(make(tmp_path / "store"))
    with pytest.raises(StoreError, match="store: no series in split 'test', only in train"):
        opened.split("test")


def test_fingerprint_follows_pixels_and_splits(tmp_path):
    first = reader.open_store(make(tmp_path / "a")).fingerprint
    assert first == reader.open_store(make(tmp_path / "b")).fingerprint
    assert first != reader.open_store(make(tmp_path / "c", [info(split="test")])).fingerprint
    with StoreWriter(tmp_path / "d") as writer:
        writer.add(INFO, FULL + 2, FULL)
    assert first != reader.open_store(tmp_path / "d").fingerprint


@pytest.mark.parametrize(
    ("positions", "thickness", "slices", "centres"),
    [
        ([0, 2, 4, 6, 8], 3.0, 1, [0, 1, 2, 3, 4]),
        ([0, 2, 4, 6, 8], 3.0, 3, [1, 2, 3]),
        ([0, 2, 4, 6, 8], 3.0, 5, [2]),
        ([0, 2, 4, 6, 8], 3.0, 7, []),
        ([0, 2, 4, 8, 10], 3.0, 3, [1]),
        ([0, 72, 76, 148, 300], 3.0, 3, []),
        ([0, 72, 76, 148, 300], 3.0, 1, [0, 1, 2, 3, 4]),
        ([0, 10, 20, 30, 40], 3.0, 3, []),  # regular, but the tissue between is in no slice
        ([0, 10, 20, 30, 40], 0.0, 3, [1, 2, 3]),  # unknown thickness
    ],
)
def test_centres(tmp_path, positions, thickness, slices, centres):
    one = info(positions_mm=tuple(map(float, positions)), thickness_mm=thickness)
    (series,) = reader.open_store(make(tmp_path / "store", [one])).series
    assert series.centres(slices).tolist() == centres


@pytest.mark.parametrize("slices", [0, -1, 2, 4])
def test_centres_of_an_even_number_of_slices(tmp_path, slices):
    (series,) = reader.open_store(make(tmp_path / "store")).series
    with pytest.raises(ConfigError, match=f"slices is {slices}, must be odd"):
        series.centres(slices)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../up"}, "a series' name must be letters"),
        ({"split": "val"}, "split 'val' must be in train, validation, test"),
        ({"positions_mm": (0.0, 2.0, 2.0, 4.0, 6.0)}, "positions_mm must be finite and ascend"),
        ({"positions_mm": (0.0, 2.0, 4.0, 6.0, np.nan)}, "positions_mm must be finite"),
        ({"positions_mm": (0.0, 2.0)}, "do not fit"),
        ({"spacing_mm": (0.0, 1.0)}, "spacing_mm and dose must be positive"),
        ({"dose": 0.0}, "spacing_mm and dose must be positive"),
        ({"thickness_mm": -1.0}, "thickness_mm not negative"),
    ],
)
def test_info_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(StoreError, match=message):
        make(tmp_path / "store", [info(**changes)])
    assert not list(tmp_path.iterdir())


def test_one_patient_in_two_splits_is_refused(tmp_path):
    with pytest.raises(StoreError, match="patient L096 is in splits train and test"):
        make(tmp_path / "store", [INFO, info(name="b", split="test")])
    root = make(tmp_path / "store", [INFO, info(name="b")])
    rewrite(root, lambda manifest: manifest["series"][1].update(split="test"))
    with pytest.raises(StoreError, match="patient L096 is in splits train and test"):
        reader.open_store(root)


def test_one_name_twice_is_refused(tmp_path):
    with pytest.raises(StoreError, match="L096-B30f: two series of this name"):
        make(tmp_path / "store", [INFO, INFO])


def test_splits_may_be_assigned_at_the_end(tmp_path):
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(INFO, FULL, FULL)
        writer.add(info(name="b", patient="L143"), FULL, FULL)
        writer.assign_splits({"L096": "test", "L143": "train"})
    assert [s.split for s in reader.open_store(tmp_path / "store").series] == ["test", "train"]


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "store") as writer:
        writer.add(INFO, FULL, FULL)
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with pytest.raises(StoreError, match="nothing to store"), StoreWriter(tmp_path / "s"):
        pass
    assert not list(tmp_path.iterdir())


def test_full_disk_is_named_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(StoreError, match="store: cannot be written: No space left on device"):
        make(tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_output_that_is_taken_is_not_touched(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "precious").write_text("data")
    with pytest.raises(StoreError, match="taken: is not empty"):
        make(taken)
    with pytest.raises(StoreError, match="precious: is not a folder"):
        make(taken / "precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="link: is not a folder"):
        make(tmp_path / "link")
    assert [path.name for path in taken.iterdir()] == ["precious"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "taken"]


def test_empty_output_folder_is_used(tmp_path):
    (tmp_path / "store").mkdir()
    assert len(reader.open_store(make(tmp_path / "store")).series) == 1


def test_output_inside_the_input_is_refused(tmp_path):
    source = tmp_path / "input"
    source.mkdir()
    (tmp_path / "link").symlink_to(source)
    for root in (source, source / "store", source / "x" / ".." / "store", tmp_path / "link" / "s"):
        with pytest.raises(StoreError, match="lies in the input"):
            StoreWriter(root, sources=[source])
    StoreWriter(tmp_path / "input2", sources=[source])


def test_missing_store_names_prepare(tmp_path):
    for root in (tmp_path / "absent", tmp_path):
        with pytest.raises(StoreError, match=r"is not a store .*prepare\.py"):
            reader.open_store(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(version=4), r"version are \('cpca_jax store', 4\), must be"),
        (lambda m: m.update(format="zip"), "format and version are"),
        (lambda m: m.update(series=[]), "lists no series"),
        (lambda m: m.update(series="all"), "lists no series"),
        (lambda m: m["series"][0].pop("kernel"), r"series 0 is not valid \(KeyError: 'kernel'\)"),
        (lambda m: m["series"][0].update(spacing_mm=[1]), "series 0 is not valid"),
        (lambda m: m["series"][0].update(dose="low"), "series 0 is not valid"),
        (lambda m: m["series"][0].update(dose=10**400), "series 0 is not valid"),
        (lambda m: m["series"][0].update(split="all"), "split 'all' must be in"),
        (lambda m: m["series"][0].update(placement="near"), "placement 'near' is not one of meas"),
        (lambda m: m["series"][0].update(placement=[]), "series 0 is not valid"),
        (
            lambda m: m["series"][0].update(spacing_mm=[0, 1]),
            "spacing_mm and dose must be positive",
        ),
        (lambda m: m["series"][0]["full"].update(file="../x.npy"), "no plain file name"),
        (lambda m: m["series"][0]["full"].update(file="x.npy"), "x.npy is missing"),
        (lambda m: m["series"][0].update(positions_mm=[0, 1]), r"must be int16 \(2, y, x\)"),
    ],
)
def test_damaged_manifest_is_refused(tmp_path, change, message):
    root = make(tmp_path / "store")
    rewrite(root, change)
    with pytest.raises(StoreError, match=message):
        reader.open_store(root)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", "[" * 100000])
def test_manifest_that_is_no_manifest(tmp_path, text):
    root = make(tmp_path / "store")
    (root / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"store/manifest.json: cannot be read"):
        reader.open_store(root)


@pytest.mark.parametrize("kept", [0, 5, 60, 127, 128, 300])
def test_truncated_array_is_refused(tmp_path, kept):
    path = make(tmp_path / "store") / "L096-B30f.full.npy"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StoreError, match=r"L096-B30f.full.npy is truncated"):
        reader.open_store(path.parent)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (FULL.astype(np.float32), r"is float32 \(5, 6, 7\), must be int16"),
        (FULL.astype(np.uint16), "is uint16"),
        (FULL.astype(">i2"), "is >i2"),
        (FULL[0], "must be int16"),
        (FULL[:4], r"is int16 \(4, 6, 7\), must be int16 \(5, y, x\)"),
        (FULL[:, :5], "has shape .* must be equal"),
    ],
)
def test_array_of_another_kind_is_refused(tmp_path, array, message):
    path = make(tmp_path / "store") / "L096-B30f.full.npy"
    np.save(path, array)
    with pytest.raises(StoreError, match=message):
        reader.open_store(path.parent)


class Exploit:
    """An object that raises when unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_nothing_is_unpickled(tmp_path):
    path = make(tmp_path / "store") / "L096-B30f.full.npy"
    for write in (
        lambda: np.save(path, np.array([Exploit()], object), allow_pickle=True),
        lambda: path.write_bytes(pickle.dumps(Exploit())),
    ):
        write()
        with pytest.raises(StoreError, match=r"no .npy file of numbers"):
            reader.open_store(path.parent)


def test_a_flipped_bit_is_found_when_asked(tmp_path):
    path = make(tmp_path / "store") / "L096-B30f.low.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    reader.open_store(path.parent)
    with pytest.raises(StoreError, match=r"L096-B30f.low.npy has SHA-256 .*, must be "):
        reader.open_store(path.parent, verify=True)


def test_a_series_is_taken_over_only_as_it_was_noted(tmp_path):
    """One changed digit in the notes of an interrupted writer, and the series is made again."""
    with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "store") as writer:
        writer.add(INFO, FULL + 1, FULL, key="same")
        raise KeyboardInterrupt
    notes = tmp_path / ".store.partial" / "progress.jsonl"
    text = notes.read_text()
    for said, taken in ((text, True), (text.replace("8.0", "9.0"), False)):
        notes.write_text(said)
        with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "store") as writer:
            assert (writer.take_over("same", INFO.name) is not None) == taken
            raise KeyboardInterrupt
