"""The session, the options of every program, and the result files."""

import argparse
import dataclasses
import json
import sys

import pytest
from tiny_session import tiny_session

from benchmarks.harness import command_line, result_files
from benchmarks.harness.session import JAX
from benchmarks.measuring.precisions import FLOAT32
from benchmarks.measuring.timing import Times
from benchmarks.measuring.work import Work

pytestmark = pytest.mark.slow

COMMON = {"benchmark", "machine", "seconds", "ceilings", "rows", "notes"}


def test_json_without_numbers_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        result_files.write(tmp_path / "a.json", {"ratio": float("nan")})


def test_a_script_prints_and_writes(tmp_path, monkeypatch, capsys):
    path = tmp_path / "deep" / "found.json"
    monkeypatch.setattr(
        sys, "argv", ["x", "--size", "tiny", "--commit", "abc", "--json", str(path)]
    )
    command_line.run("x", lambda s: [{"edge": s.sizes.edge}])
    written = json.loads(path.read_text())
    assert set(written) == COMMON | {"size"}
    assert (written["rows"], written["machine"]["commit"]) == ([{"edge": 32}], "abc")
    assert "| edge |" in capsys.readouterr().out


def test_without_a_peer_its_columns_are_empty():
    times = {JAX: Times((1.0,))}
    columns = tiny_session().columns(times, Work(flops=10**9, bytes=1), FLOAT32)
    assert columns["torch s"] is None
    assert columns["torch / JAX"] is None


def test_a_contestant_that_fails_is_noted_and_left_out():
    made = dataclasses.replace(tiny_session(), notes=[])

    def broken():
        raise RuntimeError("no compiler\nhere")

    times = made.compare({JAX: lambda: None, "broken": broken})
    assert list(times) == [JAX]
    assert made.notes == ["broken: RuntimeError: no compiler here"]


def test_the_options_of_every_script():
    options = command_line.parser("x").parse_args([])
    assert options == argparse.Namespace(json=None, size="usual", memory="kept", commit=None)


def test_result_files_are_named_by_device_day_and_memory():
    found = {"device": "NVIDIA H100 80GB HBM3", "date": "2026-01-31T10:00:00+00:00"}
    name = "nvidia-h100-80gb-hbm3-2026-01-31"
    assert result_files.file_stem(found | {"freed memory": "kept"}) == name
    assert (
        result_files.file_stem(found | {"freed memory": "given back"})
        == f"{name}-memory-given-back"
    )
