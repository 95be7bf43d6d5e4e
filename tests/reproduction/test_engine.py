"""Stages run once, resume, and run again only where something they depend on has changed."""

import json

import pytest

from cpca_jax.errors import ConfigError, InputError
from cpca_jax.reproduction.engine import DONE, Plan, Stage


def make(root, ran, *, width=1, fail=""):
    """data -> a, b -> table; each notes that it ran."""

    def stage(name, needs=(), **settings):
        def run(folder, found):
            assert set(found) == set(needs)
            assert all((path / DONE).is_file() for path in found.values())
            if name == fail:
                raise InputError("no")
            ran.append(name)

        return Stage(name, run, needs, settings, seconds=60.0)

    stages = [stage("data"), stage("a", ("data",), width=width), stage("b", ("data",))]
    return Plan(root, [*stages, stage("table", ("a", "b"))])


def run(plan, *only):
    lines = []
    plan.run(only, say=lines.append)
    return lines


def test_each_stage_runs_once(tmp_path):
    ran = []
    run(make(tmp_path, ran))
    assert ran == ["data", "a", "b", "table"]
    lines = run(make(tmp_path, ran))
    assert len(ran) == 4
    assert lines[3] == "[4/4] table: done before"


def test_a_changed_setting_reruns_what_depends_on_it(tmp_path):
    ran = []
    run(make(tmp_path, ran))
    run(make(tmp_path, ran, width=2))
    assert ran[4:] == ["a", "table"]
    run(make(tmp_path, ran))  # the older results are still there
    assert len(ran) == 6


def test_a_failed_stage_is_done_again_and_those_before_it_are_not(tmp_path):
    ran = []
    with pytest.raises(InputError, match="no"):
        run(make(tmp_path, ran, fail="b"))
    assert ran == ["data", "a"]
    run(make(tmp_path, ran))
    assert ran == ["data", "a", "b", "table"]


def test_only_some_stages_and_what_they_need(tmp_path):
    ran = []
    run(make(tmp_path, ran), "a")
    assert ran == ["data", "a"]
    with pytest.raises(ConfigError, match="--only: c is none of data, a, b, table"):
        run(make(tmp_path, ran), "c")


def test_the_plan_says_what_is_left(tmp_path):
    ran = []
    run(make(tmp_path, ran), "data")
    lines = list(make(tmp_path, ran).describe())
    assert lines[0] == "data: done in 0 s"
    assert lines[3] == "table: to do, about 60 s after a, b"
    assert lines[-1] == "about 3 minutes are left on two cores"
    assert ran == ["data"]


def test_a_torn_record_is_no_result(tmp_path):
    ran = []
    plan = make(tmp_path, ran)
    run(plan)
    (plan.folder("b") / DONE).write_text('{"stage": "b", "sec')
    run(plan)
    assert ran[4:] == ["b"]
    assert json.loads((plan.folder("b") / DONE).read_text())["stage"] == "b"


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([("b", ("a",)), ("a", ())], "stage b needs a, which must come before it, once"),
        ([("a", ()), ("a", ())], "stage a stands twice"),
    ],
)
def test_plans_that_cannot_be(tmp_path, stages, message):
    with pytest.raises(ConfigError, match=message):
        Plan(tmp_path, [Stage(name, print, needs) for name, needs in stages])


def test_a_stage_notes_where_it_was_done_and_is_for_its_owner_only(tmp_path):
    stage = Stage("only", lambda folder, found: None)
    plan = Plan(tmp_path, [stage], origin=lambda: {"device": "an abacus"})
    plan.run(say=lambda line: None)
    record = json.loads((plan.folder("only") / DONE).read_text())
    assert record["device"] == "an abacus"
    assert plan.folder("only").parent.stat().st_mode & 0o777 == 0o700
