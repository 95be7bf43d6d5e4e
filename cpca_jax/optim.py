"""Adam and its learning-rate schedules, by name."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jax import Array

from cpca_jax.config import OptimConfig
from cpca_jax.types import Params, Scalar

# Factor on the base rate as a function of the epoch, a float32 that holds a whole number.
SCHEDULES: dict[str, Callable[[Array], Array]] = {
    "constant": jnp.ones_like,
    # Released CPCE code: base / (epoch + 1).
    "inverse_epoch": lambda epoch: 1.0 / (epoch + 1.0),
    # Released MAP-NN code, by the same authors.
    "inverse_sqrt_epoch": lambda epoch: (epoch + 1.0) ** -0.5,
}


def adam(config: OptimConfig) -> optax.GradientTransformation:
    """Adam's direction; the rate is applied by `descend`, from the training step."""
    return optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon)


def schedule_factor(config: OptimConfig, step: Array, steps_per_epoch: int) -> Scalar:
    """What the base rate is multiplied with at a training step.

    Constant within an epoch. Epochs count from `config.first_epoch`, so that a fine-tuning can
    go on where the 2D training's decay stood.
    """
    epoch = step // steps_per_epoch + config.first_epoch
    return SCHEDULES[config.decay](epoch.astype(jnp.float32))


def descend(params: Params, direction: Params, rate: Scalar) -> Params:
    """Params - rate * direction."""
    return optax.tree.add_scale(params, -rate, direction)
