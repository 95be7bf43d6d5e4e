"""A data set that a user's own module adds: found, paired, checked and stored."""

import importlib.util
import subprocess
import sys

import fake_dicom
import numpy as np
import pytest
from conftest import CHECKOUT

from cpca_jax.data.collections import sources
from cpca_jax.data.collections.sources import Inputs
from cpca_jax.errors import ConfigError, ScanError
from cpca_jax.preparation import prepare
from cpca_jax.registry import Registry

MODULE = (CHECKOUT / "tests" / "plugins" / "my_data_set.py").read_text()


def write(folder, volume, patient, dose):
    """Write a scan of a made-up scanner, as the module knows it."""
    z, y, x = volume.shape
    folder.mkdir(parents=True, exist_ok=True)
    values = volume.astype("<i2").tobytes()
    (folder / f"{patient}_{dose}.myct").write_bytes(f"{z} {y} {x} 1.5\n".encode() + values)


def volume(noise_hu, seed):
    return fake_dicom.body(4, noise_hu=noise_hu, seed=seed).clip(-1024)


@pytest.fixture(autouse=True)
def own_table(monkeypatch):
    """Give each test a table of its own, so that its rows do not reach other tests."""
    monkeypatch.setattr(sources, "COLLECTIONS", Registry("collection", dict(sources.COLLECTIONS)))


def import_text(path, text):
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return text


@pytest.fixture
def module(tmp_path):
    """Import the user's module, which adds its row, and return the text of the module."""
    return import_text(tmp_path / "my_scanner.py", MODULE)


def test_forty_lines_are_enough(tmp_path, module):
    assert len(module.strip().splitlines()) <= 40
    for patient in ("p1", "p2"):
        write(tmp_path / "in", volume(10.0, 1), patient, "full")
        write(tmp_path / "in", volume(20.0, 2), patient, "low")
    lines = []
    made = prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out", say=lines.append)
    assert "found: MyCT, own folders: 4 series" in lines
    assert [(one.patient, one.split) for one in made.series] == [("p1", "train"), ("p2", "test")]
    one = made.series[0]
    assert (one.name, one.kernel, one.spacing_mm) == ("p1-unknown-0mm", "unknown", None)
    assert one.positions_mm == (0.0, 1.5, 3.0, 4.5)
    assert one.centres(3).tolist() == [1, 2]
    np.testing.assert_array_equal(one.full, volume(10.0, 1))
    np.testing.assert_array_equal(one.low, volume(20.0, 2))


def test_an_own_kind_goes_before_the_built_in_ones(tmp_path, module):
    write(tmp_path / "in", volume(10.0, 1), "p1", "full")
    np.save(tmp_path / "in" / "a.npy", volume(10.0, 1))
    assert sources.recognise(tmp_path / "in") == "MyCT"


def test_a_scan_that_breaks_its_promise_is_refused(tmp_path, module, monkeypatch):
    write(tmp_path / "in", volume(10.0, 1), "p1", "full")
    write(tmp_path / "in", volume(20.0, 2), "p1", "low")
    found = sources.gather(Inputs(tmp_path / "in"), track=lambda items, *_: items).found
    kind = type(found.scans[0])
    monkeypatch.setattr(kind, "read", lambda one: np.zeros((1, 2, 3), np.int16))
    lines = []
    with pytest.raises(ScanError, match="no usable pair"):
        prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out", say=lines.append)
    assert any(
        line.startswith("refused: p1 unknown 0 mm: read() gave int16 (1, 2, 3), must be int16 (4,")
        for line in lines
    )


def test_the_documented_module_works(tmp_path):
    text = (CHECKOUT / "docs" / "data.md").read_text().split("```python\n")[1].split("```")[0]
    smaller = text.replace("(64, 512, 512)", "(4, 48, 48)").replace("range(64)", "range(4)")
    import_text(tmp_path / "my_raw.py", smaller)
    (tmp_path / "in").mkdir()
    for dose, noise_hu in (("full", 10.0), ("low", 20.0)):
        values = volume(noise_hu, int(noise_hu)).astype("<i2")
        (tmp_path / "in" / f"Jane_{dose}.raw").write_bytes(values.tobytes())
    (one,) = prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out").series
    assert one.patient.startswith("case-")
    np.testing.assert_array_equal(one.low, volume(20.0, 20))


def test_the_command_takes_a_plug_in(tmp_path):
    (tmp_path / "my_scanner.py").write_text(MODULE)
    for dose, noise_hu in (("full", 10.0), ("low", 20.0)):
        write(tmp_path / "in", volume(noise_hu, int(noise_hu)), "p1", dose)
    command = [sys.executable, str(CHECKOUT / "prepare.py"), "--input", str(tmp_path / "in")]
    refused = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "in: no CT images among 2 files" in refused.stderr
    command += ["--plugin", str(tmp_path / "my_scanner.py"), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "found: MyCT, own folders: 2 series" in done.stdout


def test_names_that_are_taken(module):
    row = sources.COLLECTIONS["MyCT"]
    other = sources.Collection(row.holds, row.find, "reason")
    with pytest.raises(ConfigError, match="collection 'DICOM' exists already"):
        sources.register("DICOM", other)
