"""The processes of one training: they find each other before JAX touches a device.

Once all have joined, JAX shows each process the devices of all processes as one set. CPUs
communicate through Gloo, which is JAX's default.
"""

import atexit
import contextlib
import dataclasses
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # the public module does not show its client
from jax.experimental import multihost_utils

from cpca_jax.errors import ConfigError, InputError, StoppedError
from cpca_jax.runtime import heartbeat

TIMEOUT_SECONDS = 300.0
# Where our own heartbeat finds no way; longer than ours, because JAX's aborts with a stack dump.
JAX_HEARTBEAT_SECONDS = 28
_PORT = "cpca_jax/heartbeat_port"
_heartbeat = heartbeat.Heartbeat()
_FORM = re.compile(
    r"(?P<host>\[[\da-fA-F:.]+\]|[\w.-]+):(?P<port>\d+),(?P<count>\d+),(?P<index>\d+)"
)


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of one process in its training; all meet at the address of the first one."""

    host: str
    port: int
    count: int
    index: int


def parse(choice: str) -> Place:
    """Parse the place of a process from "HOST:PORT,COUNT,INDEX".

    Raises:
        ConfigError: a text of another form, or an impossible number.
    """
    match = _FORM.fullmatch(choice)
    if match is None:
        raise ConfigError(
            f"--distributed: '{choice}'; it must be empty, 'auto' or HOST:PORT,COUNT,INDEX"
        )
    place = Place(match["host"], *(int(match[name]) for name in ("port", "count", "index")))
    for name, value, allowed, wanted in (
        ("port", place.port, 0 < place.port < 65536, "from 1 to 65535"),
        ("count", place.count, place.count >= 1, "1 or more"),
        ("index", place.index, place.index < place.count, f"below the count of {place.count}"),
    ):
        if not allowed:
            raise ConfigError(f"--distributed: '{choice}' has the {name} {value}; must be {wanted}")
    return place


def join(choice: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Join the other processes of this training and wait until all are there.

    Call it before anything asks JAX for devices or computes. `choice` is the flag --distributed:
    "" for one process, "auto" where Slurm, Open MPI, Cloud TPU or Kubernetes tells JAX which
    processes there are, or "HOST:PORT,COUNT,INDEX" with the address of the process with index 0.
    With "auto" under Slurm and Open MPI, a process takes the one GPU that has its number on the
    machine; otherwise it takes all GPUs that it sees.

    Raises:
        ConfigError: `choice` is none of these.
        InputError: no cluster was found, or not all processes came in time.
    """
    if not choice:
        return
    where: dict[str, Any] = {}
    place = None
    if choice != "auto":
        place = parse(choice)
        where = {
            "coordinator_address": f"{place.host}:{place.port}",
            "num_processes": place.count,
            "process_id": place.index,
            "cluster_detection_method": "deactivate",
        }
    # JAX's own handler would swallow SIGTERM, on which this program saves and ends.
    jax.config.update("jax_enable_preemption_service", False)
    # Registered before JAX's own end, so that it runs after it.
    atexit.register(_heartbeat.leave)
    _initialize(choice, place, where, timeout_seconds)
    _watch_each_other()


def _watch_each_other() -> None:
    """Connect this process to the first one; without a way there, JAX's own heartbeat remains."""
    state = distributed.global_state
    if state.client is None or state.num_processes < 2:
        return
    if state.process_id == 0:
        port, word = _heartbeat.listen(state.num_processes)
        state.client.key_value_set(_PORT, f"{port} {word}")
        return
    port, word = state.client.blocking_key_value_get(_PORT, 60_000).split()
    host = str(state.coordinator_address).rpartition(":")[0].strip("[]")
    with contextlib.suppress(OSError):
        _heartbeat.connect(host, int(port), word, state.process_id)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Hold the processes of a training together until all are done or asked to stop.

    An error that the loss of another process causes here gives way to the line about that loss.
    """
    try:
        yield
    except (StoppedError, InputError, FloatingPointError):
        raise
    except Exception:
        if jax.process_count() > 1:
            # Collective operations fail at once, and the heartbeat ends this process soon after.
            time.sleep(heartbeat.SILENCE_SECONDS)
        raise
    # The first process may still save and score; JAX's own end does not wait as long.
    anywhere(False)


def saving() -> contextlib.AbstractContextManager[None]:
    """Return a block in which the loss of another process ends this one only after the block."""
    return _heartbeat.saving()


def is_first() -> bool:
    """Tell whether this process is the one that writes and reports; call it only after `join`."""
    return jax.process_index() == 0


def anywhere(said: bool) -> bool:
    """Tell whether `said` is true in any process; all must call this at the same step."""
    if jax.process_count() == 1:
        return said
    return bool(np.any(multihost_utils.process_allgather(np.asarray(said))))


def of_first(number: int) -> int:
    """Return the number that the first process passes; all processes must call this."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.asarray(number)))


def _initialize(
    choice: str, place: Place | None, where: dict[str, Any], timeout_seconds: float
) -> None:
    """Start JAX's distributed runtime, or raise an error that says in one sentence why it fails.

    JAX aborts the process when its own timeout passes. It therefore gets a longer timeout than
    ours, on a thread that ends with the process; signals are still handled during the wait.
    """
    failures: list[Exception] = []

    def wait_for_all() -> None:
        try:
            jax.distributed.initialize(
                **where,
                initialization_timeout=int(timeout_seconds) + 3600,
                heartbeat_timeout_seconds=JAX_HEARTBEAT_SECONDS,
            )
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=wait_for_all, daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if thread.is_alive():
        raise InputError(
            f"--distributed: '{choice}'; after {timeout_seconds:g} s {_missing(place)}"
        )
    if failures:
        if choice == "auto" and "should be defined" in str(failures[0]):
            raise InputError(
                "--distributed: 'auto'; neither Slurm, Open MPI, Cloud TPU nor Kubernetes (with "
                "jax[k8s]) started this process; give HOST:PORT,COUNT,INDEX"
            )
        raise InputError(f"--distributed: '{choice}'; {failures[0]}") from failures[0]


def _missing(place: Place | None) -> str:
    """Describe what a process has waited for in vain."""
    if place is None:
        return "not all processes that the cluster announces had come"
    try:
        socket.create_connection((place.host.strip("[]"), place.port), timeout=5).close()
    except OSError as error:
        return f"nothing answers at {place.host}:{place.port} ({error}); process 0 must run there"
    return f"fewer than {place.count} processes had come to {place.host}:{place.port}"
