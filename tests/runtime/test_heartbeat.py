"""Who loses another process ends in time, with one line and the code for "start again"."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import CHECKOUT

# A process of two, without JAX: it says its port or connects to one, then works until told to end.
PROCESS = """
import sys, time
from cpca_jax.runtime.heartbeat import Heartbeat
heartbeat = Heartbeat(silence_seconds=2)
if len(sys.argv) == 1:
    print(*heartbeat.listen(2), flush=True)
else:
    heartbeat.connect("127.0.0.1", int(sys.argv[1]), sys.argv[2], 1)
    print("there", flush=True)
sys.stdin.readline()
heartbeat.leave()
"""


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, *arguments],
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def two():
    first = start()
    second = start(*first.stdout.readline().split())
    assert second.stdout.readline() == "there\n"
    time.sleep(0.3)  # the first one has to accept
    yield first, second
    for process in (first, second):
        process.kill()
        process.communicate()


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize(
    ("number", "why"),
    [(signal.SIGKILL, "closed its connection"), (signal.SIGSTOP, "was silent for 2 s")],
)
def test_a_lost_process_ends_the_other(two, lost, number, why):
    two[lost].send_signal(number)
    begun = time.monotonic()
    two[1 - lost].wait(timeout=20)
    said = two[1 - lost].stderr.read()
    assert time.monotonic() - begun < 5
    assert two[1 - lost].returncode == 75
    assert said == (
        f"process {lost} of this training is lost: it {why}; run the same command again to "
        "continue from the last checkpoint\n"
    )


@pytest.mark.parametrize("ending", [0, 1])
def test_a_process_that_ends_well_is_not_lost(two, ending):
    assert two[ending].communicate("\n", timeout=20) == ("", "")
    time.sleep(2.5)
    assert two[1 - ending].communicate("\n", timeout=20) == ("", "")
    assert [process.returncode for process in two] == [0, 0]


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.0\r\n\r\n", b"0" * 32 + b"\0\0\0\1"])
def test_a_stranger_at_the_port_changes_nothing(said):
    with start() as first:
        port, word = first.stdout.readline().split()
        with socket.create_connection(("127.0.0.1", int(port))) as stranger:
            stranger.sendall(said)
        with start(port, word) as second:
            assert second.stdout.readline() == "there\n"
            time.sleep(0.5)
            assert first.poll() is None
            second.kill()
            first.wait(timeout=20)
        assert "process 1 of this training is lost" in first.stderr.read()
