"""Sampling of training patches: python -m benchmarks.patches [--json FILE].

From a store of phantoms made by the package's own preparation. In a training a thread of its own
samples while the step runs; the share says how much of a step's time that thread works.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import script
from benchmarks.session import Session
from benchmarks.sizes import StepCase
from benchmarks.subjects import Subject, Training, subject
from benchmarks.table import Row
from benchmarks.timing import alternate
from cpca_jax.data.store.patches import PatchSampler, PatchSpec, stack_draws
from cpca_jax.data.store.reader import Store
from cpca_jax.preparation.prepare import prepare_phantoms

_STEP = "step"


def measure(session: Session) -> Sequence[Row]:
    """A row for every depth, plain and turned, at the batch of the first training step."""
    case = session.sizes.steps[0]
    of = subject(session.sizes, case)
    training = Training(of, of.batches(np.random.default_rng(0)))
    step = alternate({_STEP: training}, session.sizes.patience)[_STEP].median
    with tempfile.TemporaryDirectory() as folder:
        store = _store(session, Path(folder) / "store")
        deepest = max(session.sizes.depths)
        chosen = [(1, "none"), (1, "dihedral"), (deepest, "none")]
        return [_row(session, store, of, kind, step) for kind in session.in_time(chosen)]


def _store(session: Session, folder: Path) -> Store:
    sizes = session.sizes
    slices = max(sizes.phantom, *sizes.depths)
    return prepare_phantoms(
        1, folder, slices=slices, size=max(sizes.edge, sizes.patch), seed=0, test_count=0
    )


def _row(session: Session, store: Store, of: Subject, kind: tuple[int, str], step: float) -> Row:
    slices, augmentation = kind
    case: StepCase = session.sizes.steps[0]
    spec = PatchSpec(session.sizes.patch, slices, augmentation=augmentation)
    sampler = PatchSampler(store.split("train"), spec)
    wanted, count = iter(range(10**9)), of.draws * case.batch

    def draw() -> object:
        return sampler.cut(stack_draws(sampler.places(0, next(wanted), count), of.draws))

    times = alternate({"draw": draw}, session.sizes.patience)["draw"]
    return {
        "slices": slices,
        "augmentation": augmentation,
        "patches a step": count,
        "seconds a step's": times,
        "patches/s": count / times.median,
        "training step s": step,
        "share of a step": times.median / step,
    }


if __name__ == "__main__":
    script.run("patches", measure)
