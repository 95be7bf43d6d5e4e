"""Time the generator on whole slices: python -m benchmarks.programs.inference.

Seconds are for each denoised slice. A slab goes through the network as a whole, and each 3D layer
is computed once per slice. "windows" gives every slice a window of its own, and computes the 3D
layers again for each.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from benchmarks.harness import command_line
from benchmarks.harness.session import JAX, Session
from benchmarks.measuring.precisions import FLOAT32
from benchmarks.measuring.tables import Row
from benchmarks.measuring.timing import Contestant, blocking
from benchmarks.measuring.work import count
from benchmarks.peers.agreement import require_same_denoising
from benchmarks.subjects.sizes import StepCase
from benchmarks.subjects.trainings import make_subject

# The largest edge of the slices on which peers are held to the package's answer.
_CHECKED_EDGE = 48


def measure(session: Session) -> Sequence[Row]:
    """Return a row for every depth of CPCA and every precision."""
    cases = list(itertools.product(session.sizes.precisions, session.sizes.depths))
    return [_row(session, slices, precision) for precision, slices in session.in_time(cases)]


def _row(session: Session, slices: int, precision: str) -> dict[str, Any]:
    sizes = session.sizes
    network = f"CPCA-{slices}"
    subject = make_subject(sizes, StepCase(1, precision=precision), slices=slices)
    params = subject.start().generator.params
    if precision == FLOAT32:
        checked = _slab(slices + 1, min(_CHECKED_EDGE, sizes.edge))
        for peer in session.peers[:1]:  # the others are the same code, compiled
            require_same_denoising(peer, subject, params, checked, network=network)
    centres = sizes.centres[slices > 1]
    slab = _slab(centres + slices - 1, sizes.edge)
    run = jax.jit(subject.denoise)
    on_device = jax.device_put((params, slab))
    contestants: dict[str, Contestant] = {JAX: blocking(run, *on_device)}
    for number, peer in enumerate(session.peers):
        for windows in (False, True) if number == 0 and slices > 1 else (False,):
            name = f"{peer.name} windows" if windows else peer.name
            contestants[name] = peer.denoising(
                params, slab, slices=slices, windows=windows, precision=precision
            )
    times = session.compare(contestants, pieces=centres)
    work = count(subject.denoise, params, slab)
    columns = session.columns(times, work // centres, precision)
    return {"network": network, "precision": precision, "slices at once": centres} | columns


def _slab(depth: int, edge: int) -> np.ndarray:
    """Return noise in network range, (1, z, y, x, 1)."""
    random = np.random.default_rng(depth)
    return random.uniform(0.0, 1.0, (1, depth, edge, edge, 1)).astype(np.float32)


if __name__ == "__main__":
    command_line.run("inference", measure)
