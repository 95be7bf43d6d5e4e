"""The objective of a training: the losses of both players, as formulas, and their rates."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from cpca_jax.objectives import losses, penalties, perceptual
from cpca_jax.objectives.perceptual import FeatureSpec
from cpca_jax.runs.config import ComputeConfig, LossConfig, OptimConfig, PerceptualConfig
from cpca_jax.runs.state import TrainState
from cpca_jax.training.accumulation import side_by_side
from cpca_jax.training.networks import Networks, Optimisers
from cpca_jax.training.optim import optimisers, schedule_factor
from cpca_jax.types import Centres, Examples, Params, RandomKey, Scalar, Scalars, Slabs
from cpca_jax.units import Window

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Objective:
    """All static settings of the step besides the networks."""

    loss: LossConfig
    optim: OptimConfig
    perceptual: PerceptualConfig
    features: FeatureSpec
    window: Window
    steps_per_epoch: int
    frozen: tuple[str, ...] = ()
    compute: ComputeConfig = dataclasses.field(default_factory=ComputeConfig)

    @property
    def form(self) -> losses.Adversarial:
        """The adversarial form: the losses of critic and generator from the critic's scores."""
        return losses.ADVERSARIAL[self.loss.adversarial_form]

    @property
    def regulariser(self) -> penalties.Regulariser:
        """The critic's penalty."""
        return penalties.PENALTIES[self.loss.penalty]

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term of the generator's loss, by name."""
        names = ("adversarial", "perceptual", "mse", "l1")
        return {name: getattr(self.loss, name) for name in names}

    @property
    def optimisers(self) -> Optimisers:
        """The optimisers of both players."""
        return optimisers(self.optim, frozen=self.frozen)

    def rate(self, base: float, step: Array) -> Scalar:
        """Return the learning rate at a training step for a base rate."""
        return base * schedule_factor(self.optim, step, self.steps_per_epoch)

    def distance(self, feature_params: Params, denoised: Centres, full: Centres) -> Array:
        """Return the perceptual distance of each example."""
        return perceptual.perceptual_distance(
            feature_params,
            denoised,
            full,
            spec=self.features,
            reduction=self.perceptual.reduction,
            norm=self.perceptual.norm,
            dtype=self.compute.precision,
        )


def critic_loss(
    params: Params,
    real: Examples,
    fake: Examples,
    key: RandomKey,
    *,
    networks: Networks,
    objective: Objective,
) -> tuple[Scalar, Scalars]:
    """Return L_D = form(D(full dose), D(denoised)) + weight * mean penalty.

    Gulrajani et al. 2017, eq. 3; the Wasserstein form is E[D(denoised)] - E[D(full dose)].

    Returns:
        The loss, and scalars for the log.
    """
    assert networks.adversary is not None
    score = partial(recomputed(objective, networks.adversary.score), params)
    # Interleaved, not end to end: devices that share the batch keep their examples.
    of_real, of_fake = score(side_by_side([real, fake])).reshape(-1, 2).T
    terms = objective.regulariser(score, key, real, fake)
    penalty = jnp.mean(terms.value)
    loss = objective.form.critic(of_real, of_fake) + objective.loss.penalty_weight * penalty
    return loss, {
        "wasserstein": losses.wasserstein_estimate(of_real, of_fake),
        "penalty": penalty,
        "critic_loss": loss,
        "gradient_norm": jnp.mean(terms.gradient_norm),
    }


def generator_loss(
    params: Params,
    low: Slabs,
    full: Centres,
    key: RandomKey,
    *,
    state: TrainState,
    feature_params: Params,
    networks: Networks,
    objective: Objective,
) -> tuple[Scalar, tuple[Scalars, Params]]:
    """Return L_G = sum of weight * term: adversarial, perceptual (the deck's two), MSE, L1.

    No term is random, so the key is not used.

    Returns:
        The loss; scalars for the log, and the updated running moments of batch normalisation.
    """
    del key
    denoise = recomputed(objective, networks.denoise_in_training)
    denoised, moved = denoise(params, state.generator.statistics, low)
    inner, target = networks.geometry.inner(denoised), networks.geometry.inner(full)
    terms = {name: jnp.mean(term(inner, target)) for name, term in losses.PIXEL_LOSSES.items()}
    if networks.adversary is not None and state.critic is not None:
        scores = networks.adversary.score(state.critic.params, networks.examples(denoised))
        terms["adversarial"] = objective.form.generator(scores)
    if objective.loss.perceptual:
        terms["perceptual"] = jnp.mean(objective.distance(feature_params, inner, target))
    loss = losses.weighted_sum(terms, objective.weights)
    # A constant output (a dead last ReLU) shows here long before it shows in a score.
    output_sd = jnp.mean(jnp.std(inner, axis=(1, 2, 3, 4)))
    return loss, (terms | {"output_sd": output_sd, "generator_loss": loss}, moved)


def recomputed(objective: Objective, function: Callable[..., T]) -> Callable[..., T]:
    """Return the function, recomputed in the backward pass if the objective saves memory so."""
    return jax.checkpoint(function) if objective.compute.rematerialise else function
