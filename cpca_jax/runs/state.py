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

from cpca_jax import trees
from cpca_jax.layers.layers import STATISTICS
from cpca_jax.objectives.constraints import UNCONSTRAINED, Constraint
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
    """The two networks of an experiment, and the shapes they are trained on.

    Attributes:
        generator: the denoiser.
        critic: None for objectives without an adversarial term.
        slices: neighbouring slices that one denoised slice is made from.
        patch: edge of the training patches.
        margin: pixels at each side of a patch that losses and critic do not see.
        centres: denoised slices of a training patch.
        constraint: what holds the critic's weights.
    """

    generator: nn.Module
    critic: nn.Module | None
    slices: int
    patch: int
    margin: int = 0
    centres: int = 1
    constraint: Constraint = UNCONSTRAINED

    def computing_in(self, precision: str) -> "Networks":
        """The same networks with convolutions in "float32" or "bfloat16"."""
        dtype = jnp.dtype(precision)
        critic = None if self.critic is None else self.critic.clone(dtype=dtype)
        generator = self.generator.clone(dtype=dtype)
        return dataclasses.replace(self, generator=generator, critic=critic)

    def denoise(self, params: Params, slab: Array) -> Array:
        """Slab (batch, z, y, x, 1) to its denoised centres, network range."""
        return jnp.asarray(self.generator.apply({"params": params}, slab))

    def denoise_in_training(self, params: Params, slab: Array) -> tuple[Array, Params]:
        """The same with the batch's own moments where the network normalises by batch.

        Returns:
            The denoised centres, and the tree with the running moments moved on.
        """
        denoised, changed = self.generator.apply({"params": params}, slab, mutable=[STATISTICS])
        return denoised, trees.replaced(params, trees.by_name(changed.get(STATISTICS, {})))

    def score(self, params: Params, examples: Array) -> Array:
        """Score `examples`, see there; the critic's weights under their constraint."""
        assert self.critic is not None
        effective = self.constraint.effective(params)
        return jnp.asarray(self.critic.apply({"params": effective}, examples))

    def inner(self, centres: Array) -> Array:
        """Centres (..., y, x, 1) without the margin."""
        end = centres.shape[-2] - self.margin
        return centres[..., self.margin : end, self.margin : end, :]

    def examples(self, centres: Array) -> Array:
        """Centres (batch, z, y, x, 1) as the critic sees them, without the margin.

        Single slices, z folded into the batch; or the slabs as they are, for a critic that scores
        several slices together.
        """
        inner = self.inner(centres)
        together = self.critic is not None and getattr(self.critic, "slices", 1) > 1
        return inner if together else inner.reshape(-1, *inner.shape[2:])


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
    if bool(networks.denoise(params, slab)[0, 0, middle, middle, 0] != 0):
        return params
    return _last_kernel_mirrored(params)


def _last_kernel_mirrored(params: Params) -> Params:
    """The tree with the layer that was made last negated; trees keep their order of making."""
    *_, last = params
    if "kernel" in params[last]:
        return params | {last: jax.tree.map(jnp.negative, params[last])}
    return params | {last: _last_kernel_mirrored(params[last])}


def init_critic(networks: Networks, key: RandomKey) -> Params:
    """Random critic parameters; empty of meaning where the experiment has no critic."""
    assert networks.critic is not None
    centres = jnp.zeros((1, networks.centres, networks.patch, networks.patch, 1), jnp.float32)
    key = jax.random.fold_in(key, CRITIC_KEY)
    params: Params = networks.critic.init(key, networks.examples(centres))["params"]
    return networks.constraint.prepare(params, key)


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
