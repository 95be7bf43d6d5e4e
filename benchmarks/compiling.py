"""Compiling the training step: python -m benchmarks.compiling [--json FILE].

Twice in a process of its own: with an empty compilation cache, and with what the first one left.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import script, sizes
from benchmarks.session import Session
from benchmarks.subjects import step_key, subject, train_step
from benchmarks.table import Row

_CHECKOUT = Path(__file__).parent.parent
_STARTS = ("cold", "from JAX's compilation cache")


def measure(session: Session) -> Sequence[Row]:
    """A row for the first start and one for the second."""
    name = "tiny" if session.sizes is sizes.TINY else "usual"
    with tempfile.TemporaryDirectory() as cache:
        return [{"start": start, **_started(name, cache)} for start in _STARTS]


def _started(size: str, cache: str) -> dict[str, Any]:
    """What a fresh process reports, and how long it lived."""
    code = f"from benchmarks import compiling; compiling.report({size!r})"
    own = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    clock = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_CHECKOUT,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seconds | {"process s": time.perf_counter() - clock}


def report(size: str) -> None:
    """Trace and compile the first training step of a size; one line of JSON on standard output."""
    chosen = sizes.chosen(size, jax.default_backend())
    case = chosen.steps[0]
    of = subject(chosen, case)
    batches = of.batches(np.random.default_rng(0))
    arguments = jax.eval_shape(lambda *given: given, batches, of.features.params, step_key())
    clock = time.perf_counter()
    lowered = jax.jit(train_step(of)).lower(of.shapes(), *arguments)
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
    script.run("compiling", measure)
