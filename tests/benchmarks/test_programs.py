"""Every program runs, and fills the required columns of every row of its table."""

import json
import sys
from functools import lru_cache

import pytest
from tiny_session import tiny_session

from benchmarks.predictions import measurements
from benchmarks.programs import run_all

pytestmark = pytest.mark.slow

PROGRAMS = list(run_all.ALL)
# The keys of every result.
COMMON = {"benchmark", "machine", "seconds", "ceilings", "rows", "notes"}


# The columns that every row of a table must fill.
COLUMNS = {
    "ceilings": ("seconds",),
    "training_step": ("JAX s", "GFLOP", "limit s", "share of limit", "JAX patches/s"),
    "inference": ("JAX s", "GFLOP", "limit s", "share of limit"),
    "patches": ("sampling s", "patches/s", "training step s", "share of a step"),
    "denoise_series": ("slices/s", "series s", "reading s", "network s", "writing s", "program s"),
    "compiling": ("tracing s", "compiling s", "process s"),
    "simulation": ("seconds", "seconds a slice"),
}


def positive(value):
    return (value["min"] if isinstance(value, dict) else value) > 0


@lru_cache
def result_of(name):
    """Run a program once for all tests of this file."""
    return tiny_session().result(name, run_all.ALL[name][0])


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_runs(name):
    result = result_of(name)
    assert set(result) == COMMON
    assert result["benchmark"] == name
    assert result["rows"]
    json.dumps(result, allow_nan=False)
    columns = result["rows"][0]
    for row in result["rows"]:
        assert set(row) == set(columns)
    for column in COLUMNS[name]:
        assert all(positive(row[column]) for row in result["rows"]), column


def test_run_all_keeps_what_it_has_and_names_what_it_lacks(tmp_path, monkeypatch):
    def broken(made):
        raise RuntimeError("out of order")

    def slow(made):
        return [{"case": case} for case in made.in_time([1, 2])]

    chosen = {"broken": (broken, 0.5), "slow": (slow, 0.5)}
    monkeypatch.setattr(run_all, "ALL", chosen)
    path = tmp_path / "all.json"
    monkeypatch.setattr(
        sys, "argv", ["run_all", "--size", "tiny", "--json", str(path), "--minutes", "0"]
    )
    with pytest.raises(SystemExit, match="failed: broken"):
        run_all.main()
    written = json.loads(path.read_text())
    assert written["benchmarks"]["broken"]["failed"] == "RuntimeError: out of order"
    assert written["benchmarks"]["slow"]["rows"] == []
    assert [note for note in written["notes"] if "left out" in note] == [
        f"left out, the time was over: {case}" for case in (1, 2)
    ]


def test_the_shares_of_the_time_are_all_of_it():
    assert sum(share for _, share in run_all.ALL.values()) == pytest.approx(1.0)


def test_predictions_read_what_the_programs_write():
    names = ("training_step", "inference", "simulation")
    written = {name: result_of(name) for name in names}
    result = {"machine": written["inference"]["machine"], "benchmarks": written}
    assert measurements.measured_machine(result, measurements.TRAINING_STEP).flops > 0
    assert measurements.network_seconds(result, 3) > 0
    assert measurements.simulation_seconds(result) > 0
