"""Processes that join: the values of --distributed, refusals, and two real processes."""

import os
import signal
import subprocess
import sys
import time

import pytest
import tiny
from conftest import CHECKOUT
from ports import free_port

from cpca_jax.errors import ConfigError
from cpca_jax.programs import launch
from cpca_jax.runs import checkpoints
from cpca_jax.runtime import processes

FOUR_DEVICES = "--xla_force_host_platform_device_count=4"
RUNNER = """
import sys
from cpca_jax.programs import launch
from cpca_jax.runtime import processes
seconds, choice = float(sys.argv.pop()), sys.argv.pop()
def main():
    print("ready", flush=True)
    processes.join(choice, timeout_seconds=seconds)

launch.run(launch.Program(""), main)
"""
# Joined, every process holds a part of one array, and all know its sum.
TOGETHER = """
import os, signal, sys
from cpca_jax.programs import launch
from cpca_jax.runtime import processes
choice = sys.argv.pop()

def main():
    processes.join(choice)
    import jax, numpy as np
    from jax.sharding import NamedSharding, PartitionSpec
    assert jax.process_count() == 2 and jax.device_count() == 8
    mesh = jax.make_mesh((8,), ("batch",))
    sharding = NamedSharding(mesh, PartitionSpec("batch"))
    mine = np.arange(4.0) + 4 * jax.process_index()
    whole = jax.make_array_from_process_local_data(sharding, mine)
    total = jax.jit(lambda x: x.sum(), out_shardings=NamedSharding(mesh, PartitionSpec()))(whole)
    second = jax.process_index() == 1
    print(float(total), processes.is_first(), processes.anywhere(second), processes.anywhere(False))
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        print("SIGTERM is heard")

launch.run(launch.Program(""), main)
"""


def start(*arguments, program="-c"):
    """Start a process on CPUs and capture its output."""
    arguments = [arguments[0], *map(str, arguments[1:])]
    return subprocess.Popen(
        [sys.executable, *([program] if program else []), *arguments],
        cwd=CHECKOUT,
        env=os.environ
        | {"PYTHONPATH": str(CHECKOUT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": FOUR_DEVICES},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    said, complained = process.communicate(timeout=120)
    return process.returncode, said, complained


@pytest.mark.parametrize(
    ("choice", "place"),
    [
        ("node7:1234,8,3", ("node7", 1234, 8, 3)),
        ("10.0.0.1:65535,1,0", ("10.0.0.1", 65535, 1, 0)),
        ("[fe80::1]:9,2,1", ("[fe80::1]", 9, 2, 1)),
        ("cpca-process-0-0.cpca:8476,2,0", ("cpca-process-0-0.cpca", 8476, 2, 0)),
    ],
)
def test_a_place_is_read(choice, place):
    assert processes.parse(choice) == processes.Place(*place)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("slurm", "'slurm'; it must be empty, 'auto' or HOST:PORT,COUNT,INDEX"),
        ("node7,2,0", "HOST:PORT,COUNT,INDEX"),
        ("node7:1234", "HOST:PORT,COUNT,INDEX"),
        ("node7:1234,2,-1", "HOST:PORT,COUNT,INDEX"),
        (":1234,2,0", "HOST:PORT,COUNT,INDEX"),
        ("node7:99999,2,0", "has the port 99999; must be from 1 to 65535"),
        ("node7:0,2,0", "has the port 0; must be from 1 to 65535"),
        ("node7:1234,0,0", "has the count 0; must be 1 or more"),
        ("node7:1234,2,2", "has the index 2; must be below the count of 2"),
    ],
)
def test_what_is_no_place_is_refused(choice, said):
    with pytest.raises(ConfigError) as caught:
        processes.join(choice)
    assert str(caught.value).startswith("--distributed: ")
    assert said in str(caught.value)


def test_one_process_need_not_join():
    processes.join("")
    assert processes.is_first()
    assert processes.anywhere(True)
    assert not processes.anywhere(False)


def test_no_cluster_is_one_line(monkeypatch):
    for name in ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    code, _, complained = ended(start(RUNNER, "auto", 20))
    assert code == launch.BAD_INPUT, complained
    assert complained.startswith("error: --distributed: 'auto'; neither Slurm, ")
    assert len(complained.splitlines()) == 1


@pytest.mark.slow
def test_who_is_missing_is_said_in_time():
    """There is no coordinator, or a coordinator that no other process joins."""
    nobody = free_port()
    address = f"127.0.0.1:{nobody}"
    for index, said in (
        (1, f"nothing answers at {address} ([Errno 111] Connection refused); process 0 must run"),
        (0, f"fewer than 2 processes had come to {address}"),
    ):
        begun = time.monotonic()
        code, _, complained = ended(start(RUNNER, f"{address},2,{index}", 2))
        assert code == launch.BAD_INPUT, complained
        assert complained.startswith(
            f"error: --distributed: '{address},2,{index}'; after 2 s {said}"
        )
        assert time.monotonic() - begun < 60


def test_a_process_that_waits_can_be_ended():
    process = start(RUNNER, f"127.0.0.1:{free_port()},2,1", 100)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # now it waits
    process.send_signal(signal.SIGTERM)
    code, _, complained = ended(process)
    assert code == launch.STOPPED, complained


@pytest.mark.slow
def test_two_processes_join():
    address = f"127.0.0.1:{free_port()}"
    both = [ended(one) for one in [start(TOGETHER, f"{address},2,{k}") for k in range(2)]]
    for index, (code, said, complained) in enumerate(both):
        assert code == 0, complained
        lines = [line for line in said.splitlines() if not line.startswith("[Gloo]")]
        assert lines == [f"28.0 {index == 0} True False", "SIGTERM is heard"]


@pytest.mark.slow
def test_train_joins_before_anything_asks_for_devices(tmp_path):
    """Two processes of the real command get as far as the missing store."""
    address, arguments = f"127.0.0.1:{free_port()}", ("--config", "configs/demo.py", "--workdir")
    both = [
        start("train.py", *arguments, tmp_path, f"--distributed={address},2,{k}", program="")
        for k in range(2)
    ]
    for code, _, complained in map(ended, both):
        assert code == launch.BAD_INPUT
        assert complained.startswith("error: config.data.store: empty"), complained


@pytest.mark.slow
def test_stopped_is_not_done(tmp_path):
    """The exit code tells a launcher to run the same command again."""
    store = tiny.write_store(tmp_path / "store")
    arguments = ["--config", "configs/cnn.py", "--workdir", tmp_path / "run"]
    arguments += [f"--config.data.store={store}", "--config.data.patch=20", "--config.data.batch=4"]
    arguments += ["--config.perceptual.network=random", "--config.perceptual.tap=relu1_2"]
    process = start("train.py", *arguments, "--config.train.checkpoint_every=1", program="")
    deadline = time.monotonic() + 240
    while not checkpoints.steps(tmp_path / "run") and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    code, said, complained = ended(process)
    assert code == launch.STOPPED, complained
    assert "run the same command again to continue" in complained
    assert "done:" not in said
