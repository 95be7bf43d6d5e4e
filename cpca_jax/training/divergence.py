"""Trainings that diverge: what is not finite is never saved, and the user learns how to go on."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

from cpca_jax.errors import DivergedError
from cpca_jax.runs import checkpoints, saving
from cpca_jax.runs.config import Experiment
from cpca_jax.runs.state import TrainState


def require_finite_state(state: TrainState, experiment: Experiment, workdir: Path) -> None:
    """Refuse a state that holds a number that is not finite.

    Every process can call this alone, because each holds the whole state.

    Raises:
        DivergedError: There is such a number; the message names the first and says how to go on.
    """
    bad = saving.broken(jax.device_get(state))
    if bad:
        raise diverged(int(state.step), bad, experiment, workdir)


def require_finite_scalars(
    scalars: Mapping[str, float], step: int, experiment: Experiment, workdir: Path
) -> None:
    """Refuse scalars of a training step that are not finite.

    Raises:
        DivergedError: One of them is not finite.
    """
    bad = [name for name, value in scalars.items() if not math.isfinite(value)]
    if bad:
        raise diverged(step, bad, experiment, workdir)


def diverged(step: int, bad: Sequence[str], experiment: Experiment, workdir: Path) -> DivergedError:
    """Return the error of a training that has reached numbers that are not finite.

    Args:
        step: The step at which that was noticed.
        bad: The names of what is not finite.
        experiment: The experiment.
        workdir: The folder of the run, whose checkpoints are all from before.
    """
    which = f"{bad[0]} is" if len(bad) == 1 else f"{bad[0]} and {len(bad) - 1} more are"
    fact = f"step {step}: the training has diverged: {which} not finite; nothing of it is saved"
    optim = experiment.optim
    rates = (
        f"--config.optim.learning_rate={optim.learning_rate / 2:g} "
        f"--config.optim.critic_learning_rate={optim.critic_learning_rate / 2:g}"
    )
    sound = checkpoints.sound_step(workdir)
    if sound is None:
        return DivergedError(
            f"{fact}, and {workdir.name} has no checkpoint yet",
            f"Run it again with lower rates, such as {rates}",
        )
    return DivergedError(
        f"{fact}, and the checkpoint of step {sound} stays the newest",
        f"To go on from there with lower rates, train in another --workdir with "
        f"--config.transfer.run={workdir} --config.transfer.step={sound} {rates}",
    )
