"""The loop: resuming is exact after any kind of end, and bad inputs are refused."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
import tiny
from conftest import CHECKOUT

from cpca_jax.errors import CheckpointError, ConfigError, InputError, StoppedError
from cpca_jax.programs import launch
from cpca_jax.runs import checkpoints, config
from cpca_jax.runtime import locks, run_log
from cpca_jax.training import loop, procedures

RUNNER = """
import json, sys
from pathlib import Path
from cpca_jax.programs import launch
from cpca_jax.runs import config
from cpca_jax.training import loop
run, file = Path(sys.argv.pop()), Path(sys.argv.pop())
train = lambda: loop.train(config.parse(json.loads(file.read_text())), run)
launch.run(launch.Program(""), train)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny.write_store(tmp_path_factory.mktemp("loop") / "store")


@pytest.fixture(scope="module")
def reference(store, tmp_path_factory):
    """Train an uninterrupted run of six steps."""
    run = tmp_path_factory.mktemp("loop") / "run"
    loop.train(tiny.configuration(store, train__checkpoint_every=1), run)
    return run


def same_parameters(run, other):
    for which in ("generator", "critic"):
        ours, theirs = (checkpoints.restore_params(r, which=which) for r in (run, other))
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_run_never_lies_in_its_store(store):
    with pytest.raises(InputError, match="run: lies in the input; --workdir must be outside it"):
        procedures.train(tiny.configuration(store), store / "run")
    assert not (store / "run").exists()


def test_a_run_leaves_scores_curves_and_checkpoints(reference):
    train = run_log.read_jsonl(reference / "train.jsonl")
    assert [line["step"] for line in train] == [1, 2, 3, 4, 5, 6]
    assert {"wasserstein", "penalty", "gradient_norm", "seconds_per_step"} <= set(train[0])
    validation = run_log.read_jsonl(reference / "validation.jsonl")
    assert [line["epoch"] for line in validation] == [0, 1, 2]
    assert {"psnr", "ssim", "perceptual", "low_psnr"} <= set(validation[0])
    assert list((reference / "events").iterdir())
    assert checkpoints.steps(reference) == [4, 5, 6]
    assert train[0]["learning_rate"] == pytest.approx(1e-4)
    assert train[5]["learning_rate"] == pytest.approx(0.5e-4)


def test_stopped_and_resumed_equals_uninterrupted(store, reference, tmp_path):
    run = tmp_path / "run"
    loop.train(tiny.configuration(store, train__steps=2), run)
    compiled = loop._compiled_step.cache_info().misses
    loop.train(tiny.configuration(store), run)
    same_parameters(run, reference)
    assert loop._compiled_step.cache_info().misses == compiled
    steps = [line["step"] for line in run_log.read_jsonl(run / "train.jsonl")]
    assert steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
@pytest.mark.parametrize("wait_for", ["1", "2", "4"])
def test_killed_and_run_again_equals_uninterrupted(store, reference, tmp_path, wait_for):
    """A SIGKILL in training and the same command again give the same parameters, bit for bit."""
    run, file = tmp_path / "run", tmp_path / "config.json"
    file.write_text(config.to_json(tiny.configuration(store, train__checkpoint_every=1)))
    command = [sys.executable, "-c", RUNNER, str(file), str(run)]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (run / "checkpoints" / wait_for).exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert int(wait_for) <= checkpoints.steps(run)[-1] < 6
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    same_parameters(run, reference)


@pytest.mark.slow
def test_sigterm_saves_and_ends_well(store, reference, tmp_path):
    run, file = tmp_path / "run", tmp_path / "config.json"
    file.write_text(config.to_json(tiny.configuration(store, train__steps=5000)))
    command = [sys.executable, "-c", RUNNER, str(file), str(run)]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not checkpoints.steps(run) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == launch.STOPPED
    stopped = checkpoints.sound_step(run)
    assert f"stopped at step {stopped} as asked" in said


def test_a_damaged_newest_checkpoint_costs_its_steps_only(store, reference, tmp_path):
    run = tmp_path / "run"
    loop.train(tiny.configuration(store, train__checkpoint_every=1, train__steps=4), run)
    (run / "checkpoints" / "4" / "manifest.json").unlink()
    loop.train(tiny.configuration(store), run)
    same_parameters(run, reference)


def test_a_changed_configuration_is_refused_with_the_difference(store, reference):
    with pytest.raises(ConfigError, match=r"optim.beta1: 0.5 here, 0.9 there"):
        loop.train(tiny.configuration(store, optim__beta1=0.5), reference)


def test_changed_data_are_refused(reference, tmp_path):
    other = tiny.write_store(tmp_path / "store", ("validation", "train", "test"))
    with pytest.raises(ConfigError, match="data: "):
        loop.train(tiny.configuration(other), reference)


def test_a_moved_store_is_the_same_data(store, reference, tmp_path):
    moved = tmp_path / "moved"
    moved.symlink_to(store)
    loop.train(tiny.configuration(moved), reference)


def test_a_second_training_in_the_folder_is_refused(store, tmp_path):
    with (
        locks.hold(tmp_path / ".lock", "run", "is held"),
        pytest.raises(InputError, match="another training is running"),
    ):
        loop.train(tiny.configuration(store), tmp_path)


def test_divergence_stops_the_run_and_says_at_which_step(store, tmp_path):
    wild = tiny.configuration(store, optim__learning_rate=1e30, optim__critic_learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"step \d+: .* not finite"):
        loop.train(wild, tmp_path / "run")


def test_no_sound_checkpoint_left_is_not_silently_a_new_run(store, tmp_path):
    run = tmp_path / "run"
    loop.train(tiny.configuration(store, train__steps=1), run)
    (run / "checkpoints" / "1" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="none of its checkpoints is sound"):
        loop.train(tiny.configuration(store), run)


@pytest.mark.slow
@pytest.mark.parametrize("slices", [3, 5])
def test_transfer_starts_exactly_where_2d_ended(store, reference, tmp_path, slices):
    """The first validation equals the 2D run's last, and both players are carried over."""
    run = tmp_path / "run"
    changes = {"transfer__run": str(reference), "model__slices": slices, "train__steps": 1}
    loop.train(tiny.configuration(store, **changes), run)
    last = run_log.read_jsonl(reference / "validation.jsonl")[-1]
    first = run_log.read_jsonl(run / "validation.jsonl")[0]
    for metric in ("psnr", "ssim", "perceptual"):
        assert first[metric] == pytest.approx(last[metric], abs=1e-5, rel=1e-5)
    assert json.loads((run / "config.json").read_text())["transfer"]["rule"] == "centre"


@pytest.mark.slow
def test_transfer_from_a_run_without_critic_warms_one_up(store, tmp_path, capsys):
    flat = tmp_path / "mse"
    mse = {"loss__adversarial": 0.0, "loss__mse": 1.0, "loss__perceptual": 0.0}
    loop.train(tiny.configuration(store, train__steps=1, **mse), flat)
    changes = {"transfer__run": str(flat), "transfer__critic_warmup_steps": 2, "train__steps": 1}
    loop.train(tiny.configuration(store, model__slices=3, **changes), tmp_path / "run")
    said = capsys.readouterr().out
    assert "critic: from scratch (the 2D run had none)" in said
    assert "critic warm-up: 2 steps of 2 updates" in said


def test_a_worker_thread_trains_without_handlers(store, reference, tmp_path):
    """As a notebook or a server does it; signals are for the main thread to hear."""
    run, failures = tmp_path / "run", []

    def work():
        try:
            loop.train(tiny.configuration(store, train__steps=2), run)
        except BaseException as error:
            failures.append(error)

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
        thread.join(0.05)
    assert failures == []
    assert checkpoints.sound_step(run) == 2


def test_a_stop_ends_a_sweep(store, tmp_path, monkeypatch):
    """A loop over trainings must not go on with the next one, so a stop is an error."""
    finished = []
    monkeypatch.setattr(loop._Training, "_asked", lambda self, done: done == 2)
    with pytest.raises(StoppedError, match="first: stopped at step 2 as asked"):
        for name in ("first", "second"):
            finished.append(loop.train(tiny.configuration(store), tmp_path / name))
    assert finished == []
    assert not (tmp_path / "second").exists()
    assert checkpoints.sound_step(tmp_path / "first") == 2
