"""The first training step of the package, in a form that another implementation can be held to."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

from benchmarks.subjects.trainings import Subject, step_key, train_step
from cpca_jax import trees
from cpca_jax.runs.state import TrainState
from cpca_jax.training.steps import Batches
from cpca_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Reference:
    """A first training step of the package.

    Attributes:
        scalars: the terms of both losses, by the names that the package logs.
        gradients: of each player's update, by "critic" and "generator", as parameter trees.
    """

    scalars: Mapping[str, float]
    gradients: Mapping[str, Params]


def comparable(subject: Subject) -> tuple[Subject, TrainState]:
    """Return a subject and its start, changed so that rounding does not decide the result.

    Adam's epsilon is 1: its first step would otherwise make whole steps of the rounding of tiny
    gradients. The critic's biases are not 0: at exactly 0 JAX and PyTorch give a leaky ReLU
    different slopes.
    """
    objective = subject.objective
    optim = dataclasses.replace(objective.optim, epsilon=1.0)
    steady = dataclasses.replace(subject, objective=dataclasses.replace(objective, optim=optim))
    return steady, _without_ties(subject.start())


def _without_ties(start: TrainState) -> TrainState:
    assert start.critic is not None
    leaves = trees.by_name(start.critic.params)
    moved = {name: leaf + 0.01 for name, leaf in leaves.items() if name.endswith("bias")}
    params = trees.replaced(start.critic.params, moved)
    return start.replace(critic=start.critic.replace(params=params))


def reference(subject: Subject, start: TrainState, batches: Batches) -> Reference:
    """Take the first step.

    Args:
        subject: with one critic update, so that Adam's first moment holds the critic's gradient.
        start: the state before the step, given away.
        batches: of the step.
    """
    assert subject.experiment.loss.critic_steps == 1
    stepped, scalars = train_step(subject)(start, batches, subject.features.params, step_key())
    # Adam's first moment after one update is (1 - beta1) times the gradient.
    kept = 1 - subject.objective.optim.beta1
    gradients = {
        player: jax.tree.map(
            lambda moment: np.asarray(moment) / kept, getattr(stepped, player).opt_state["adam"].mu
        )
        for player in ("critic", "generator")
    }
    return Reference({name: float(scalars[name]) for name in scalars}, gradients)


def penalty_shares(subject: Subject) -> np.ndarray:
    """Return the shares of full dose in the points of the penalty (critic updates, batch).

    They are the draws of `penalties.between` in the first step.
    """
    draws, batch = subject.draws - 1, subject.experiment.data.batch
    keys = jax.random.split(jax.random.fold_in(step_key(), 0), draws)
    drawn = [jax.random.uniform(key, (batch, 1, 1, 1)) for key in keys]
    return np.stack(drawn).reshape(draws, batch)
