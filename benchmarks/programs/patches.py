"""Time the sampling of training patches: python -m benchmarks.programs.patches.

The patches come from a store of phantoms that the package's own preparation makes. In a training a
separate thread samples while the step runs; the share is the part of a step during which it works.
"""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import command_line
from benchmarks.harness.session import Session
from benchmarks.measuring.tables import Row
from benchmarks.measuring.timing import Times, alternate
from benchmarks.subjects.trainings import Subject, Training, make_subject
from cpca_jax.data.store.patches import PatchSampler, PatchSpec, stack_draws
from cpca_jax.data.store.reader import Store
from cpca_jax.preparation.prepare import prepare_phantoms

_STEP, _DRAW = "step", "draw"


def measure(session: Session) -> Sequence[Row]:
    """Return a row for each depth and augmentation, at the batch of the first training step."""
    subject = make_subject(session.sizes, session.sizes.steps[0])
    training = Training(subject, subject.batches(np.random.default_rng(0)))
    step_seconds = alternate({_STEP: training}, session.sizes.patience)[_STEP].median
    deepest = max(session.sizes.depths)
    kinds = [(1, "none"), (1, "dihedral"), (deepest, "none")]
    with tempfile.TemporaryDirectory() as folder:
        store = _store(session, Path(folder) / "store")
        rows = []
        for slices, augmentation in session.in_time(kinds):
            spec = PatchSpec(session.sizes.patch, slices, augmentation=augmentation)
            times = _sampling(session, store, subject, spec)
            rows.append(_row(subject, spec, times, step_seconds))
        return rows


def _store(session: Session, folder: Path) -> Store:
    sizes = session.sizes
    slices = max(sizes.phantom, *sizes.depths)
    return prepare_phantoms(
        1, folder, slices=slices, size=max(sizes.edge, sizes.patch), seed=0, test_count=0
    )


def _sampling(session: Session, store: Store, subject: Subject, spec: PatchSpec) -> Times:
    """Return the seconds for all patches of one training step."""
    sampler = PatchSampler(store.split("train"), spec)
    numbers, draws = itertools.count(), subject.draws

    def draw() -> object:
        places = sampler.places(0, next(numbers), _patches(subject))
        return sampler.cut(stack_draws(places, draws))

    return alternate({_DRAW: draw}, session.sizes.patience)[_DRAW]


def _row(subject: Subject, spec: PatchSpec, sampling: Times, step_seconds: float) -> Row:
    return {
        "slices": spec.slices,
        "augmentation": spec.augmentation,
        "patches a step": _patches(subject),
        "sampling s": sampling,
        "patches/s": _patches(subject) / sampling.median,
        "training step s": step_seconds,
        "share of a step": sampling.median / step_seconds,
    }


def _patches(subject: Subject) -> int:
    """Return the number of patches of one step."""
    return subject.draws * subject.experiment.data.batch


if __name__ == "__main__":
    command_line.run("patches", measure)
