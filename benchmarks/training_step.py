"""One training step, beside PyTorch's: python -m benchmarks.training_step [--json FILE].

CPCA-1, the critic with its gradient penalty of weight 10, VGG19 at relu5_4 with random weights.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import peers, script
from benchmarks.session import JAX, Session
from benchmarks.sizes import StepCase
from benchmarks.subjects import Training, step_work, subject
from benchmarks.table import Row


def measure(session: Session) -> Sequence[Row]:
    """A row for every batch size, number of critic updates and precision."""
    check(session)
    return [_row(session, case) for case in session.in_time(session.sizes.steps)]


def check(session: Session) -> None:
    """Hold every peer to our first step, on a batch of two.

    Raises:
        DisagreementError: it computes something else.
    """
    small = subject(session.sizes, StepCase(2, critic_steps=1))
    for peer in session.peers[:1]:  # the others are the same code, compiled
        peers.require_same_step(peer, small, small.batches(np.random.default_rng(0)))


def _row(session: Session, case: StepCase) -> dict[str, Any]:
    of = subject(session.sizes, case)
    batches = of.batches(np.random.default_rng(0))
    contestants: dict[str, Any] = {JAX: Training(of, batches)}
    for peer in session.peers:
        contestants[peer.name] = peer.training(of, of.start(), batches, precision=case.precision)
    times = session.compare(contestants)
    columns = session.columns(times, step_work(of, batches), case.precision)
    seen = case.batch * of.draws
    named = {
        "batch": case.batch,
        "critic updates": case.critic_steps,
        "precision": case.precision,
    }
    return named | columns | {f"{JAX} patches/s": seen / times[JAX].median}


if __name__ == "__main__":
    script.run("training_step", measure)
