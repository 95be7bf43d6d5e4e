"""Predictions: the formula by hand, and the page against the committed measurement."""

import dataclasses
import json
import re

import pytest
from conftest import CHECKOUT

from benchmarks.harness.result_files import RESULTS, newest
from benchmarks.measuring.environment import KEPT
from benchmarks.measuring.work import Work
from benchmarks.predictions import jobs, large_scale, measurements
from benchmarks.predictions.jobs import Job
from benchmarks.predictions.machine_models import MachineModel
from benchmarks.programs import readme_table

pytestmark = pytest.mark.slow

HERE = MachineModel("here", flops=10.0)
MANY = MachineModel("many", flops=10.0, bandwidth=4.0, width=2, devices=2, link=8.0, together=2)


def job(name, steps, **rest):
    return Job(name, steps, Work(flops=3600 * 100, bytes=0), exchanged=0, **rest)


def test_seconds_are_the_larger_of_arithmetic_and_memory_and_the_exchange():
    assert HERE.seconds(Work(50, 10**9)) == 5.0
    assert MANY.seconds(Work(50, 0)) == 2.5
    assert MANY.seconds(Work(50, 64)) == 64 * 0.5 / 8
    assert MANY.seconds(Work(50, 0), exchanged=12) == 2.5 + 3.0
    assert dataclasses.replace(HERE, least=7.0).seconds(Work(50, 0)) == 7.0


def test_all_is_over_when_the_longest_chain_is():
    """Two run at a time: 2 h + 1 h one after the other, and 1 h at the same time."""
    trainings = [job("a", 4), job("b", 2, after="a"), job("c", 1, times=2)]
    alone, many = large_scale.total_rows(trainings, [HERE, MANY])
    assert alone == {"machine": "here", "device-hours": 80.0, "hours": 80.0}
    assert many["device-hours"] == 80.0
    assert many["hours"] == 30.0


def test_the_measured_speed_is_work_over_time():
    rows = [{"GFLOP": 6.0, "JAX s": {"median": 2.0}}]
    benchmarks = {"training_step": {"rows": rows}, "inference": {"rows": rows}}
    result = {"machine": {"cores": 2, "device": "X"}, "benchmarks": benchmarks}
    machine = measurements.measured_machine(result, measurements.TRAINING_STEP)
    assert machine.name == "2 cores of X"
    assert machine.flops == 3e9
    assert machine.measured


def test_a_step_of_the_deck_is_34_gflop_a_patch():
    """A count with the zeros of padding and both images through all of VGG19 gives 42."""
    from cpca_jax.configs import cpca1

    found = jobs.job_of("CPCA-1", cpca1.get_config())
    assert found.step.flops / 128 == pytest.approx(34e9, rel=0.01)
    assert found.steps == 40_000


def test_the_readme_shows_the_newest_measurement():
    assert readme_table.page(RESULTS) in (CHECKOUT / "README.md").read_text()


def result(backend, memory, seconds, day):
    machine = {"backend": backend, "freed memory": memory, "date": day, "device": "X", "cores": 2}
    row = {"JAX s": {"median": seconds}, "torch s": {"median": 3.0}, "share of limit": 0.5}
    steps = {"rows": [{"batch": 16, "critic updates": 4} | row]}
    machine |= {"commit": "abc", "jax": "1", "torch": "2"}
    return {"machine": machine, "benchmarks": {"training_step": steps, "inference": {"rows": []}}}


def test_the_newest_of_its_kind_is_shown(tmp_path):
    results = [
        result("cpu", "kept", 9.0, "2026-01-01"),
        result("cpu", "kept", 2.0, "2026-01-02"),
        result("cpu", "given back", 4.0, "2026-01-03"),
        result("gpu", "kept", 0.25, "2026-01-04"),
    ]
    for number, one in enumerate(results):
        (tmp_path / f"{number}.json").write_text(json.dumps(one))
    first = readme_table.page(tmp_path).splitlines()[2]
    cells = [text.strip() for text in first.strip("|").split("|")]
    name = "training step, batch 16, critic updates: 4"
    assert cells == [name, "2", "50%", "1.5", "-", "1.5", "-", "0.25"]


@pytest.mark.slow
def test_the_page_shows_what_the_script_prints():
    found = newest(RESULTS, "cpu", KEPT)
    text = (CHECKOUT / "docs" / "scaling.md").read_text()
    shown = re.search(r"<!-- tables -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
    assert shown is not None
    assert shown[1] == large_scale.page(found)
