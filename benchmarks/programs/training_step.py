"""Time one training step beside PyTorch's: python -m benchmarks.programs.training_step.

CPCA-1, the critic with its gradient penalty of weight 10, VGG19 at relu5_4 with random weights.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.harness import command_line
from benchmarks.harness.session import JAX, Session
from benchmarks.measuring.tables import Row
from benchmarks.peers.agreement import require_same_step
from benchmarks.subjects.sizes import StepCase
from benchmarks.subjects.trainings import Training, make_subject, step_work


def measure(session: Session) -> Sequence[Row]:
    """Return a row for every batch size, number of critic updates and precision."""
    check(session)
    return [_row(session, case) for case in session.in_time(session.sizes.steps)]


def check(session: Session) -> None:
    """Hold every peer to the package's first step, on a batch of two.

    Raises:
        DisagreementError: a peer computes something else.
    """
    small = make_subject(session.sizes, StepCase(2, critic_steps=1))
    for peer in session.peers[:1]:  # the others are the same code, compiled
        require_same_step(peer, small, small.batches(np.random.default_rng(0)))


def _row(session: Session, case: StepCase) -> dict[str, Any]:
    subject = make_subject(session.sizes, case)
    batches = subject.batches(np.random.default_rng(0))
    contestants: dict[str, Any] = {JAX: Training(subject, batches)}
    for peer in session.peers:
        contestants[peer.name] = peer.training(
            subject, subject.start(), batches, precision=case.precision
        )
    times = session.compare(contestants)
    columns = session.columns(times, step_work(subject, batches), case.precision)
    seen = case.batch * subject.draws
    named = {
        "batch": case.batch,
        "critic updates": case.critic_steps,
        "precision": case.precision,
    }
    return named | columns | {f"{JAX} patches/s": seen / times[JAX].median}


if __name__ == "__main__":
    command_line.run("training_step", measure)
