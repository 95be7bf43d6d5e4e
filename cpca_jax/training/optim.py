"""The optimisers and their learning-rate schedules, by name.

An optimiser is one optax chain; the training step gives its learning rate. Clipping, or another
rule, is one more row of the chain.
"""

import re
from collections.abc import Callable
from functools import lru_cache, partial

import jax.numpy as jnp
import optax
from jax import Array

from cpca_jax import trees
from cpca_jax.registry import Registry
from cpca_jax.runs.config import OptimConfig
from cpca_jax.runs.state import Player
from cpca_jax.training.networks import Optimisers
from cpca_jax.types import Params, Scalar

# The factor on the base rate as a function of the epoch, a float32 that holds a whole number.
# The second argument is the half-life in epochs, for schedules that have one.
SCHEDULES: Registry[Callable[[Array, float], Array]] = Registry(
    "learning-rate schedule",
    {
        "constant": lambda epoch, half_life: jnp.ones_like(epoch),
        # Released CPCE code: base / (epoch + 1).
        "inverse_epoch": lambda epoch, half_life: 1.0 / (epoch + 1.0),
        # Released MAP-NN code, by the same authors.
        "inverse_sqrt_epoch": lambda epoch, half_life: (epoch + 1.0) ** -0.5,
        # "Slowly decreased" (RED-CNN).
        "exponential": lambda epoch, half_life: 0.5 ** (epoch / half_life),
    },
)


# Cached, so that two trainings of one configuration compile once.
@lru_cache
def optimisers(config: OptimConfig, *, frozen: tuple[str, ...] = ()) -> Optimisers:
    """Build both players' optimisers.

    Args:
        config: The constants of Adam, and the weight decay of the generator's kernels.
        frozen: Regular expressions; generator parameters with a matching name do not change.
    """
    adam = optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon)
    generator = optax.named_chain(
        # L2 decay in the gradient, as Caffe's Adam has it.
        ("decay", optax.add_decayed_weights(config.weight_decay, mask=_kernels)),
        ("adam", adam),
        ("frozen", optax.masked(optax.set_to_zero(), partial(_named, frozen))),
    )
    return Optimisers(generator, optax.named_chain(("adam", adam)))


def _kernels(params: Params) -> Params:
    """Tell for each parameter whether it is a kernel."""
    return _marked(params, lambda name: name.endswith("kernel"))


def _named(patterns: tuple[str, ...], params: Params) -> Params:
    """Tell for each parameter whether its name matches one of the regular expressions."""
    return _marked(params, lambda name: any(re.fullmatch(p, name) for p in patterns))


def _marked(params: Params, test: Callable[[str], bool]) -> Params:
    """Return a tree like `params` with the result of a test on each parameter's name."""
    return trees.like(params, {name: test(name) for name in trees.by_name(params)})


def schedule_factor(config: OptimConfig, step: Array, steps_per_epoch: int) -> Scalar:
    """Return the factor on the base rate at a training step.

    It is constant within an epoch. Epochs count from `config.first_epoch`, so that a fine-tuning
    can continue the decay of the 2D training.
    """
    epoch = step // steps_per_epoch + config.first_epoch
    return SCHEDULES[config.decay](epoch.astype(jnp.float32), config.half_life)


def descend(
    player: Player, gradient: Params, optimiser: optax.GradientTransformation, rate: Scalar
) -> Player:
    """Take one step against the gradient: params - rate * direction of the optimiser."""
    direction, opt_state = optimiser.update(gradient, player.opt_state, player.params)
    params = optax.tree.add_scale(player.params, -rate, direction)
    return player.replace(params=params, opt_state=opt_state)
