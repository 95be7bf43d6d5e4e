"""What a training says while it runs, when its output goes to a file."""

import re

import pytest
import tiny

from cpca_jax.runtime import logs
from cpca_jax.training import loop


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny.write_store(tmp_path_factory.mktemp("progress") / "store")


def test_compiling_is_said_before_it_happens_and_once(store, tmp_path, monkeypatch, capsys):
    said_before = []
    compiled = loop._compiled_step

    def watched(*arguments):
        step = compiled(*arguments)

        class Step:
            trace = step.trace

            def __call__(self, *given):
                said_before.append(capsys.readouterr().out)
                return step(*given)

        return Step()

    monkeypatch.setattr(loop, "_compiled_step", watched)
    monkeypatch.setattr(loop, "_TRACED_BEFORE_SECONDS", 0.0)
    loop.train(tiny.configuration(store, train__steps=2), tmp_path / "run")
    assert re.search(r"\ncompiling the training step \(about \d+ s\)\n$", said_before[0])
    assert "compiled; with the first step it took" in said_before[1]
    assert "compil" not in said_before[1].replace("compiled; with the first step", "")


def test_a_step_that_was_compiled_before_is_not_announced(store, tmp_path, monkeypatch, capsys):
    loop.train(tiny.configuration(store, train__steps=1), tmp_path / "first")
    capsys.readouterr()
    monkeypatch.setattr(loop, "_TRACED_BEFORE_SECONDS", 0.2)
    loop.train(tiny.configuration(store, train__steps=1), tmp_path / "second")
    assert "compil" not in capsys.readouterr().out


def test_losses_stand_beside_the_progress(store, tmp_path, capsys):
    loop.train(tiny.configuration(store, train__steps=2), tmp_path / "run")
    line = re.search(r"training: 2/2 (.*) \(\d", capsys.readouterr().out)
    assert re.fullmatch(r"critic_loss -?[\d.e-]+, generator_loss -?[\d.e-]+", line[1])


def test_the_time_left_does_not_count_the_compiling(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(logs, "_LINE_EVERY_SECONDS", 0.0)
    with logs.ProgressBar("training", 11) as bar:
        now[0] = 100.0  # the first step, with its compiling
        bar.begin()
        bar.advance()
        now[0] = 102.0
        bar.advance()
    assert "training: 2/11  (2.00 s each, 18 s left)" in capsys.readouterr().out
