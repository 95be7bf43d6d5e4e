"""Adam and its learning-rate schedules, by name."""

import re
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import optax
from jax import Array

from cpca_jax import trees
from cpca_jax.runs.config import OptimConfig
from cpca_jax.types import Params, Scalar

# Factor on the base rate as a function of the epoch, a float32 that holds a whole number.
# The second argument is the half-life in epochs, for those that have one.
SCHEDULES: dict[str, Callable[[Array, float], Array]] = {
    "constant": lambda epoch, half_life: jnp.ones_like(epoch),
    # Released CPCE code: base / (epoch + 1).
    "inverse_epoch": lambda epoch, half_life: 1.0 / (epoch + 1.0),
    # Released MAP-NN code, by the same authors.
    "inverse_sqrt_epoch": lambda epoch, half_life: (epoch + 1.0) ** -0.5,
    # "Slowly decreased" (RED-CNN).
    "exponential": lambda epoch, half_life: 0.5 ** (epoch / half_life),
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
    return SCHEDULES[config.decay](epoch.astype(jnp.float32), config.half_life)


def decayed(gradient: Params, params: Params, weight_decay: float) -> Params:
    """The gradient with L2 weight decay of the kernels, as Caffe's Adam has it."""
    if not weight_decay:
        return gradient
    slopes, weights = trees.by_name(gradient), trees.by_name(params)
    kernels = [name for name in weights if name.endswith("kernel")]
    return trees.replaced(gradient, {n: slopes[n] + weight_decay * weights[n] for n in kernels})


def held(direction: Params, frozen: Sequence[str]) -> Params:
    """The direction without the leaves whose name matches one of the regular expressions."""
    still = {
        name: jnp.zeros_like(leaf)
        for name, leaf in trees.by_name(direction).items()
        if any(re.fullmatch(pattern, name) for pattern in frozen)
    }
    return trees.replaced(direction, still)


def descend(params: Params, direction: Params, rate: Scalar) -> Params:
    """Params - rate * direction."""
    return optax.tree.add_scale(params, -rate, direction)
