"""The same training on one device, on several, and in several processes."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from conftest import CHECKOUT
from ports import free_port

from cpca_jax import trees
from cpca_jax.errors import ConfigError
from cpca_jax.runs import checkpoints
from cpca_jax.runs.config import ComputeConfig
from cpca_jax.runtime.sharding import choose_devices, share_of
from cpca_jax.training import loop
from cpca_jax.training.accumulation import mean_gradient
from cpca_jax.training.experiment import assemble
from cpca_jax.training.feed import Feeder
from cpca_jax.training.start import begin

pytestmark = pytest.mark.slow

# A large epsilon, because Adam's first steps would otherwise turn rounding of tiny gradients into whole steps.
CHANGES = {"data__batch": 8, "train__epochs": 1, "optim__epsilon": 1e-3}
# Only the order of the sums over the batch differs.
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny.write_store(tmp_path_factory.mktemp("parallel") / "store")


def compute(experiment, **changes):
    return dataclasses.replace(
        experiment, compute=dataclasses.replace(experiment.compute, **changes)
    )


def weights(run):
    players = {
        which: checkpoints.restore_params(run, which=which) for which in ("generator", "critic")
    }
    return trees.by_name(players)


def assert_close(found, wanted):
    assert found.keys() == wanted.keys()
    for name, leaf in wanted.items():
        np.testing.assert_allclose(found[name], leaf, err_msg=name, **CLOSE)


@pytest.fixture(scope="module")
def alone(store, tmp_path_factory):
    """Train on one device."""
    run = tmp_path_factory.mktemp("alone") / "run"
    loop.train(tiny.configuration(store, **CHANGES), run)
    return weights(run)


@pytest.mark.parametrize("changes", [
    {"devices": 8},
    {"devices": 8, "resident": True},
    {"resident": True},
    {"rematerialise": True},
], ids=str)  # fmt: skip
def test_however_it_is_computed_the_training_is_the_same(store, tmp_path, alone, changes):
    loop.train(compute(tiny.configuration(store, **CHANGES), **changes), tmp_path / "run")
    assert_close(weights(tmp_path / "run"), alone)


def test_devices_exchange_sums_of_gradients_and_nothing_else(store):
    """The compiled step has no other collective, so that no activations are exchanged."""
    experiment = tiny.configuration(store, **CHANGES, model__slices=3)
    step, arguments = step_and_arguments(experiment, choose_devices(8, wanted=4))
    text = step.lower(*arguments).compile().as_text()
    kinds = r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
    assert set(re.findall(kinds, text)) == {"all-reduce"}


def step_and_arguments(experiment, placement):
    parts = assemble(experiment)
    feeder = Feeder(parts.sampler, placement, batch=8, draws=3)
    step = loop._compiled_step(parts.networks, parts.objective, placement, feeder.spec)
    state = placement.replicate(begin(parts, placement, say=str).state)
    features = placement.replicate(parts.features.params)
    return step, (state, feeder.send(0, 0), feeder.held, features, jax.random.key(0))


def test_parts_on_devices_add_up_to_the_batch(store, tmp_path):
    """The penalty r1 draws no random points, so that only rounding may differ."""
    experiment = tiny.configuration(store, **CHANGES, loss__penalty="r1")
    loop.train(experiment, tmp_path / "whole")
    loop.train(compute(experiment, accumulate=2, devices=4), tmp_path / "parts")
    assert_close(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


@pytest.mark.parametrize("unroll", [True, False])
def test_parts_add_up_written_out_and_in_a_loop(unroll):
    def loss(params, data, key):
        value = jnp.mean((data @ params["w"] - 1) ** 2)
        return value, {"value": value}

    random = np.random.default_rng(0)
    params = {"w": jnp.asarray(random.normal(size=3))}
    data = jnp.asarray(random.normal(size=(12, 3)))
    key = jax.random.key(0)
    whole = mean_gradient(loss, params, data, key=key, parts=1, unroll=unroll)
    parts = mean_gradient(loss, params, data, key=key, parts=4, unroll=unroll)
    assert_close(trees.by_name(parts), trees.by_name(whole))


def test_each_part_draws_its_own_random_points():
    """Otherwise the points of a penalty would be the same in every part."""

    def loss(params, data, key):
        drawn = jax.random.uniform(key)
        return params * jnp.mean(data), drawn

    key = jax.random.key(0)
    _, drawn = mean_gradient(loss, 1.0, jnp.ones(4), key=key, parts=2, unroll=True)
    keys = jax.random.split(jax.random.key(0), 2)
    assert drawn == pytest.approx(np.mean([jax.random.uniform(key) for key in keys]))


def test_a_batch_in_parts_takes_less_memory(store):
    """Less memory is the purpose of the parts."""
    experiment = tiny.configuration(store, **CHANGES)

    def temporary(**changes):
        step, arguments = step_and_arguments(
            compute(experiment, **changes), choose_devices(8, wanted=1)
        )
        return step.lower(*arguments).compile().memory_analysis().temp_size_in_bytes

    assert temporary(accumulate=4) < 0.4 * temporary()


def test_bfloat16_moves_both_players_about_as_float32_does(store, tmp_path, alone):
    experiment = compute(tiny.configuration(store, **CHANGES), precision="bfloat16")
    loop.train(experiment, tmp_path / "run")
    half = weights(tmp_path / "run")
    assert all(leaf.dtype == np.float32 for leaf in half.values())
    differences = {name: np.abs(half[name] - alone[name]).max() for name in alone}
    assert 0 < max(differences.values()) < 1e-2


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ConfigError, match=r"config.data.batch: 6; 8 devices share it evenly only"):
        choose_devices(6)
    with pytest.raises(ConfigError, match=r"config.compute.devices: 9; there are 8"):
        choose_devices(9, wanted=9)
    assert len(choose_devices(6, wanted=3).devices) == 3
    assert ComputeConfig().devices == 0


def test_shares_of_processes_cover_the_batch():
    """The share of a process is proportional to the number of its devices."""
    shares = [share_of(8, [0, 0, 0, 1], process) for process in (0, 1)]
    assert shares == [slice(0, 6), slice(6, 8)]


PROCESS = """
import sys
sys.path[:0] = [{checkout!r}, {tests!r}]
import pathlib, tiny
from cpca_jax.errors import StoppedError
from cpca_jax.runtime import logs, processes
from cpca_jax.training import loop
processes.join({address!r} + "," + sys.argv[1])
experiment = tiny.configuration(pathlib.Path({store!r}), **{changes!r})
try:
    print("stopped at", int(loop.train(experiment, pathlib.Path({run!r})).step))
except StoppedError as stopped:
    print("stopped at", str(stopped).partition(" step ")[2].split()[0])
"""


def start(store, run, changes):
    """Start two processes of one training."""
    address = f"localhost:{free_port()},2"
    text = PROCESS.format(
        checkout=str(CHECKOUT),
        tests=str(CHECKOUT / "tests"),
        address=address,
        store=str(store),
        run=str(run),
        changes=changes,
    )
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    return [
        subprocess.Popen(
            [sys.executable, "-c", text, str(index)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]


def outputs(processes):
    found = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], found
    return found


def test_two_processes_train_what_one_does(store, tmp_path, alone):
    changes = CHANGES | {"compute__devices": 2}
    first, second = outputs(start(store, tmp_path / "run", changes))
    assert "validation PSNR" in first
    assert "validation" not in second
    assert_close(weights(tmp_path / "run"), alone)


def test_a_signal_to_one_process_stops_all_at_the_same_step(store, tmp_path):
    """This happens when one of several machines is taken away; run again, the processes go on."""
    changes = CHANGES | {"compute__devices": 2, "train__steps": 100_000, "train__log_every": 2}
    run = tmp_path / "run"
    both = start(store, run, changes)
    for line in both[0].stdout:
        if "training" in line or "epoch" in line:
            break
    both[1].send_signal(signal.SIGTERM)
    stopped = [int(re.search(r"stopped at (\d+)\n", text)[1]) for text in outputs(both)]
    assert stopped[0] == stopped[1] < 100_000
    assert stopped[0] in checkpoints.steps(run)
    more = changes | {"train__steps": stopped[0] + 2}
    outputs(start(store, run, more))
    assert max(checkpoints.steps(run)) == stopped[0] + 2


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_other_in_one_line(store, tmp_path, lost):
    """With JAX's collective operations under way, which would abort with a dump of the stack."""
    changes = CHANGES | {"compute__devices": 2, "train__steps": 100_000, "train__log_every": 2}
    run = tmp_path / "run"
    both = start(store, run, changes | {"train__checkpoint_every": 5})
    deadline = time.monotonic() + 240
    while not checkpoints.steps(run) and time.monotonic() < deadline:
        time.sleep(0.05)
    both[lost].kill()
    begun = time.monotonic()
    said, _ = both[1 - lost].communicate(timeout=60)
    assert time.monotonic() - begun < 30
    assert both[1 - lost].returncode == 75, said
    assert f"process {lost} of this training is lost" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert "stack" not in said.lower()
    both[lost].communicate()
    assert checkpoints.sound_step(run)
