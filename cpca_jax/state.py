"""The state of a training: what is in it is what a checkpoint holds.

No keys, no functions, no optimisers inside. Randomness is a function of (seed, step), so the step
is all that resuming needs besides the two players.
"""

import dataclasses

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import Array

from cpca_jax.types import Leaf, Params, RandomKey

# Named folds of the root key.
GENERATOR_KEY, CRITIC_KEY, STEP_KEY = 0, 1, 2


class Player(flax.struct.PyTreeNode):
    """Parameters and the optimiser's state of one network."""

    params: Params
    opt_state: Params


class TrainState(flax.struct.PyTreeNode):
    """Both players and the number of generator updates done.

    Attributes:
        step: int32 scalar.
        generator: the denoiser.
        critic: None for objectives without an adversarial term.
    """

    step: Leaf
    generator: Player
    critic: Player | None


@dataclasses.dataclass(frozen=True)
class Networks:
    """The two networks of an experiment; the critic sees single slices."""

    generator: nn.Module
    critic: nn.Module | None
    slices: int
    patch: int

    def denoise(self, params: Params, slab: Array) -> Array:
        """Slab (batch, z, y, x, 1) to its denoised centres, network range."""
        return jnp.asarray(self.generator.apply({"params": params}, slab))

    def score(self, params: Params, images: Array) -> Array:
        """Score single slices (batch, y, x, 1)."""
        assert self.critic is not None
        return jnp.asarray(self.critic.apply({"params": params}, images))


def new_player(params: Params, optimiser: optax.GradientTransformation) -> Player:
    """A player at the start of its optimisation."""
    return Player(params=params, opt_state=optimiser.init(params))


def init_generator(networks: Networks, key: RandomKey) -> Params:
    """Random generator parameters that do not start dead.

    A network without biases whose last layer is a ReLU answers zero, but for a few pixels at the
    border, for about half of all random kernels: those whose answer to a bright flat image is
    negative. Such a start learns late or never. As Glorot's distribution is symmetric, mirroring
    the last kernel gives an equally likely draw that lives.
    """
    slab = jnp.ones((1, networks.slices, networks.patch, networks.patch, 1), jnp.float32)
    params: Params = networks.generator.init(jax.random.fold_in(key, GENERATOR_KEY), slab)["params"]
    middle = networks.patch // 2
    if bool(networks.denoise(params, slab)[0, 0, middle, middle, 0] > 0):
        return params
    *_, last = params
    return params | {last: jax.tree.map(jnp.negative, params[last])}


def init_critic(networks: Networks, key: RandomKey) -> Params:
    """Random critic parameters; empty of meaning where the experiment has no critic."""
    assert networks.critic is not None
    image = jnp.zeros((1, networks.patch, networks.patch, 1), jnp.float32)
    params: Params = networks.critic.init(jax.random.fold_in(key, CRITIC_KEY), image)["params"]
    return params


def create_state(
    networks: Networks,
    optimiser: optax.GradientTransformation,
    key: RandomKey,
    *,
    generator: Player | None = None,
    critic: Player | None = None,
) -> TrainState:
    """The state before the first step: given players (a transfer's) or fresh ones."""
    if generator is None:
        generator = new_player(init_generator(networks, key), optimiser)
    if critic is None and networks.critic is not None:
        critic = new_player(init_critic(networks, key), optimiser)
    return TrainState(step=jnp.zeros((), jnp.int32), generator=generator, critic=critic)


def state_shapes(networks: Networks, optimiser: optax.GradientTransformation) -> TrainState:
    """Structure, shapes and dtypes of the state, without computing anything."""

    def blank() -> TrainState:
        key = jax.random.key(0)
        slab = jnp.ones((1, networks.slices, networks.patch, networks.patch, 1), jnp.float32)
        generator = new_player(networks.generator.init(key, slab)["params"], optimiser)
        return create_state(networks, optimiser, key, generator=generator)

    shapes: TrainState = jax.eval_shape(blank)
    return shapes
