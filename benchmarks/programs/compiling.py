"""Time the compiling of the training step: python -m benchmarks.programs.compiling.

Each time is taken in a new process: first with an empty compilation cache, then with the cache that
the first process left.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from benchmarks.harness import command_line
from benchmarks.harness.session import Session
from benchmarks.measuring.environment import CHECKOUT
from benchmarks.measuring.tables import Row
from benchmarks.subjects.sizes import TINY, TINY_NAME, USUAL_NAME, sizes_for
from benchmarks.subjects.trainings import make_subject, step_key, train_step

_STARTS = ("cold", "from JAX's compilation cache")


def measure(session: Session) -> Sequence[Row]:
    """Return a row for the first start and one for the second."""
    size = TINY_NAME if session.sizes is TINY else USUAL_NAME
    with tempfile.TemporaryDirectory() as cache:
        return [{"start": start, **_start(size, cache)} for start in _STARTS]


def _start(size: str, cache: str) -> dict[str, Any]:
    """Start a new process; return its report and the seconds that it lived."""
    code = f"from benchmarks.programs import compiling; compiling.report({size!r})"
    cached = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    clock = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=os.environ | cached,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seconds | {"process s": time.perf_counter() - clock}


def report(size: str) -> None:
    """Trace and compile the first training step of a size; print one line of JSON."""
    sizes = sizes_for(size, jax.default_backend())
    case = sizes.steps[0]
    subject = make_subject(sizes, case)
    batches = subject.batches(np.random.default_rng(0))
    given = (batches, subject.features.params, step_key())
    arguments = jax.eval_shape(lambda *arrays: arrays, *given)
    clock = time.perf_counter()
    lowered = jax.jit(train_step(subject)).lower(subject.shapes(), *arguments)
    traced = time.perf_counter()
    lowered.compile()
    compiled = time.perf_counter()
    found = {
        "batch": case.batch,
        "critic updates": case.critic_steps,
        "tracing s": traced - clock,
        "compiling s": compiled - traced,
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    command_line.run("compiling", measure)
