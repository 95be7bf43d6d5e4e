"""The generator on whole slices, beside PyTorch's: python -m benchmarks.inference [--json FILE].

Seconds for each denoised slice. Slabs go through the network whole, each 3D layer computed once
per slice; "windows" gives every slice a window of its own, and computes the 3D layers again.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import peers, script
from benchmarks.counting import count
from benchmarks.session import JAX, Session
from benchmarks.sizes import FLOAT32, StepCase
from benchmarks.subjects import subject
from benchmarks.table import Row
from benchmarks.timing import Contestant, blocking
from cpca_jax.training.networks import Networks
from cpca_jax.types import Params

# Of the slices on which a peer is held to our answer.
_CHECKED_EDGE = 48


def measure(session: Session) -> Sequence[Row]:
    """A row for every depth of CPCA and every precision."""
    cases = list(itertools.product(session.sizes.precisions, session.sizes.depths))
    return [_row(session, slices, precision) for precision, slices in session.in_time(cases)]


def _row(session: Session, slices: int, precision: str) -> dict[str, Any]:
    sizes = session.sizes
    of = subject(sizes, StepCase(1, precision=precision), slices=slices)
    networks, params = of.networks, of.start().generator.params
    if precision == FLOAT32:
        _check(session, networks, params)
    centres = sizes.centres[slices > 1]
    slab = _slab(centres + slices - 1, sizes.edge)
    run = jax.jit(networks.denoise)
    on_device = jax.device_put((params, slab))
    contestants: dict[str, Contestant] = {JAX: blocking(run, *on_device)}
    for number, peer in enumerate(session.peers):
        for windows in (False, True) if number == 0 and slices > 1 else (False,):
            name = f"{peer.name} windows" if windows else peer.name
            contestants[name] = peer.denoising(
                params, slab, slices=slices, windows=windows, precision=precision
            )
    times = session.compare(contestants, pieces=centres)
    work = count(networks.denoise, params, slab)
    columns = session.columns(times, work // centres, precision)
    named = {"network": f"CPCA-{slices}", "precision": precision, "slices at once": centres}
    return named | columns


def _check(session: Session, networks: Networks, params: Params) -> None:
    """Hold every peer to our answer, whole slabs and windows."""
    slab = _slab(networks.geometry.slices + 1, min(_CHECKED_EDGE, session.sizes.edge))
    for peer in session.peers[:1]:
        with jax.default_matmul_precision("highest"), peer.exactly():
            ours = np.asarray(jax.jit(networks.denoise)(params, slab))
            for windows in (False, True):
                theirs = peer.denoising(
                    params,
                    slab,
                    slices=networks.geometry.slices,
                    windows=windows,
                    precision=FLOAT32,
                )
                peers.require_same_answer(f"CPCA-{networks.geometry.slices}", ours, theirs.answer())


def _slab(depth: int, edge: int) -> np.ndarray:
    """Noise in network range, (1, z, y, x, 1)."""
    random = np.random.default_rng(depth)
    return random.uniform(0.0, 1.0, (1, depth, edge, edge, 1)).astype(np.float32)


if __name__ == "__main__":
    script.run("inference", measure)
