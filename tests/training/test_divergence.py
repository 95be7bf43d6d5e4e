"""A training that diverges loses nothing, tells the truth and says how to go on."""

import json
import re
import shlex

import pytest
import tiny
from commands import call
from test_loop import same_parameters

from cpca_jax.errors import DivergedError
from cpca_jax.programs import launch
from cpca_jax.runs import checkpoints, config
from cpca_jax.runs.config import parse
from cpca_jax.runtime import run_log
from cpca_jax.training import divergence, loop

# One step of this rate gives weights so large that the second step is not finite.
WILD = {"optim__learning_rate": 1e9}
# One step of these rates gives weights that are not finite.
WILDER = {"optim__learning_rate": 1e30, "optim__critic_learning_rate": 1e30}
# Nothing is logged or validated between the steps.
SILENT = {"train__log_every": 1000, "train__steps_per_epoch": 1000}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny.write_store(tmp_path_factory.mktemp("diverged") / "store")


def wild(store, **changes):
    return tiny.configuration(store, **WILD, **SILENT, train__checkpoint_every=1, **changes)


def test_what_diverges_between_two_log_lines_is_not_saved(store, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(
        DivergedError, match=r"step 2: the training has diverged: .* are not finite"
    ):
        loop.train(wild(store), run)
    assert checkpoints.steps(run) == [1]
    assert checkpoints.sound_step(run) == 1
    assert "the checkpoint of step 1 stays the newest" in str(
        divergence.diverged(2, ["x"], wild(store), run)
    )
    # The same command diverges at the same step, and again nothing is lost.
    with pytest.raises(DivergedError, match="step 2"):
        loop.train(wild(store), run)
    assert checkpoints.sound_step(run) == 1


def test_the_advice_can_be_followed(store, tmp_path):
    sound, again = tmp_path / "run", tmp_path / "again"
    experiment = tiny.configuration(store, train__steps=2, train__checkpoint_every=1)
    loop.train(experiment, sound)
    advice = str(divergence.diverged(3, ["x"], experiment, sound))
    flags = [word for word in shlex.split(advice) if word.startswith("--config.")]
    changed = json.loads(config.to_json(experiment))
    for flag in flags:
        path, _, value = flag.removeprefix("--config.").partition("=")
        group, field = path.split(".")
        kind = type(changed[group][field])
        changed[group][field] = kind(value)
    assert changed["optim"]["learning_rate"] == pytest.approx(5e-5)
    assert changed["transfer"] | {"run": str(sound), "step": 2} == changed["transfer"]
    changed["optim"] |= {"learning_rate": 1e-30, "critic_learning_rate": 1e-30}
    changed["train"]["steps"] = 1
    loop.train(parse(changed), again)
    same_parameters(again, sound)  # both players were carried over


def test_without_a_checkpoint_the_same_folder_can_be_used_again(store, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(DivergedError, match=r"run has no checkpoint yet\. Run it again with lower"):
        loop.train(tiny.configuration(store, **WILDER, **SILENT), run)
    loop.train(tiny.configuration(store, train__steps=2), run)
    assert [row["step"] for row in run_log.read_jsonl(run / "train.jsonl")] == [1, 2]


def test_the_last_sound_checkpoint_is_named_not_the_newest_folder(store, tmp_path):
    run = tmp_path / "run"
    loop.train(tiny.configuration(store, train__steps=2, train__checkpoint_every=1), run)
    (run / "checkpoints" / "2" / "config.json").unlink()
    (run / "checkpoints" / "77").mkdir()
    assert "step 1 stays" in str(divergence.diverged(9, ["x"], wild(store), run))


def test_the_exit_code_of_a_divergence_is_3(monkeypatch, capsys):
    def main():
        raise DivergedError("step 2: it has diverged", "Lower\nthe rates")

    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(SystemExit) as ended:
        launch.run(launch.Program(""), main)
    assert ended.value.code == 3
    assert capsys.readouterr().err == "error: step 2: it has diverged. Lower the rates\n"


@pytest.mark.slow
def test_the_program_ends_with_3_and_one_line(store, tmp_path):
    configuration = tmp_path / "wild.py"
    run = tmp_path / "run"
    configuration.write_text(
        "import json\nfrom ml_collections import ConfigDict\n"
        f"def get_config():\n    return ConfigDict(json.loads({config.to_json(wild(store))!r}))\n"
    )
    result = call("train.py", "--config", configuration, "--workdir", run)
    assert result.returncode == 3, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert re.match(r"error: step 2: the training has diverged: ", lines[0])
    assert f"--config.transfer.run={run} --config.transfer.step=1 " in lines[0]


def test_a_network_whose_output_overflows_has_diverged(store, tmp_path, monkeypatch):
    from cpca_jax.errors import NotFiniteError
    from cpca_jax.training.validation import Validation

    def scores(self, generator):
        raise NotFiniteError("the network: its output is not finite")

    monkeypatch.setattr(Validation, "scores", scores)
    with pytest.raises(DivergedError, match=r"step 0: .*: the network's output is not finite"):
        loop.train(tiny.configuration(store, train__steps=1), tmp_path / "run")
