"""The networks of a training, the patches they see, and their initial state."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

from cpca_jax.layers import STATISTICS, variables_of
from cpca_jax.objectives.constraints import UNCONSTRAINED, Constraint
from cpca_jax.runs.state import CRITIC_KEY, GENERATOR_KEY, Player, TrainState
from cpca_jax.trees import by_name
from cpca_jax.types import Centres, DenoisingNetwork, Examples, Params, RandomKey, Scores, Slabs


@dataclasses.dataclass(frozen=True)
class PatchGeometry:
    """The shape of training patches.

    Attributes:
        slices: The number of neighbouring slices from which one denoised slice is computed; a
            low-dose patch has `slices` - 1 slices more than centres.
        size: The number of rows and of columns.
        margin: The pixels at each side that the losses and the critic do not see.
        centres: The number of denoised slices of a patch.
    """

    slices: int
    size: int
    margin: int = 0
    centres: int = 1

    def inner(self, centres: Array) -> Array:
        """Return centre slices (..., y, x, 1) without the margin."""
        end = centres.shape[-2] - self.margin
        return centres[..., self.margin : end, self.margin : end, :]


@dataclasses.dataclass(frozen=True)
class Adversary:
    """A critic and the constraint on its weights.

    Attributes:
        module: The network that scores examples; its `slices` is the number of neighbouring slices
            that it scores together.
        constraint: The constraint that acts on the weights directly, without a penalty.
    """

    module: nn.Module
    constraint: Constraint = UNCONSTRAINED

    def score(self, params: Params, examples: Examples) -> Scores:
        """Score examples by the constrained weights; a higher score means more like full dose."""
        return jnp.asarray(
            self.module.apply({"params": self.constraint.effective(params)}, examples)
        )

    def examples(self, centres: Centres) -> Array:
        """Return centre slices (batch, z, y, x, 1) as the critic sees them.

        These are single slices, z folded into the batch, or the whole slabs for a critic that
        scores several slices together.
        """
        together: bool = self.module.slices > 1
        return centres if together else centres.reshape(-1, *centres.shape[2:])


@dataclasses.dataclass(frozen=True)
class Networks:
    """The networks of a training.

    Attributes:
        generator: The denoising network.
        adversary: The critic; None for objectives without an adversarial term.
        geometry: The geometry of the patches that both see.
    """

    generator: DenoisingNetwork
    adversary: Adversary | None
    geometry: PatchGeometry

    def computing_in(self, precision: str) -> "Networks":
        """Return the same networks with convolutions in `precision`: "float32" or "bfloat16"."""
        dtype, adversary = jnp.dtype(precision), self.adversary
        if adversary is not None:
            module = adversary.module.clone(dtype=dtype)
            adversary = dataclasses.replace(adversary, module=module)
        generator = self.generator.clone(dtype=dtype)
        return dataclasses.replace(self, generator=generator, adversary=adversary)

    def denoise(self, params: Params, slabs: Slabs, *, statistics: Params | None = None) -> Centres:
        """Denoise slabs (batch, z, y, x, 1) in network range, with the running moments if any."""
        return jnp.asarray(self.generator.apply(variables_of(params, statistics), slabs))

    def denoise_in_training(
        self, params: Params, statistics: Params, slabs: Slabs
    ) -> tuple[Centres, Params]:
        """Denoise slabs; batch normalisation, if any, uses the moments of the batch itself.

        Returns:
            The centre slices, and the updated running moments.
        """
        variables = variables_of(params, statistics)
        denoised, moved = self.generator.apply(variables, slabs, mutable=[STATISTICS])
        return denoised, dict(moved.get(STATISTICS, {}))

    def examples(self, centres: Centres) -> Array:
        """Return denoised or full-dose centre slices as the critic sees them: without margin."""
        assert self.adversary is not None
        return self.adversary.examples(self.geometry.inner(centres))


def new_player(
    params: Params, optimiser: optax.GradientTransformation, *, statistics: Params | None = None
) -> Player:
    """Return a player at the start of its optimisation."""
    return Player(params, optimiser.init(params), {} if statistics is None else statistics)


def init_generator(networks: Networks, key: RandomKey) -> tuple[Params, Params]:
    """Draw random generator parameters that do not start dead.

    A network without biases whose last layer is a ReLU returns zero, except for a few pixels at
    the border, for about half of all random kernels: those with a negative response to a bright
    flat image. Such a start learns late or never. Because Glorot's distribution is symmetric,
    negating the last kernel gives an equally likely draw that is not dead.

    Returns:
        The parameters, and the initial moments of batch normalisation.
    """
    slab = _flat_slab(networks.geometry)
    variables = networks.generator.init(jax.random.fold_in(key, GENERATOR_KEY), slab)
    params, statistics = variables["params"], variables.get(STATISTICS, {})
    middle = networks.geometry.size // 2
    answer = networks.denoise(params, slab, statistics=statistics)
    if params and not bool(answer[0, 0, middle, middle, 0] != 0):
        params = _last_kernel_mirrored(params)
    return params, statistics


def _flat_slab(geometry: PatchGeometry) -> Slabs:
    return jnp.ones((1, geometry.slices, geometry.size, geometry.size, 1), jnp.float32)


def _last_kernel_mirrored(params: Mapping[str, Any]) -> Params:
    """Negate the kernel of the layer that was created last; trees keep the order of creation."""
    *_, last = params
    if "kernel" in params[last]:
        return {**params, last: jax.tree.map(jnp.negative, params[last])}
    if not isinstance(params[last], Mapping):
        return params  # a layer from elsewhere, which starts as its authors chose
    return {**params, last: _last_kernel_mirrored(params[last])}


def init_critic(networks: Networks, key: RandomKey) -> Params:
    """Draw random critic parameters."""
    assert networks.adversary is not None
    geometry, adversary = networks.geometry, networks.adversary
    centres = jnp.zeros((1, geometry.centres, geometry.size, geometry.size, 1), jnp.float32)
    key = jax.random.fold_in(key, CRITIC_KEY)
    params: Params = adversary.module.init(key, networks.examples(centres))["params"]
    return adversary.constraint.prepare(params, key)


def generator_names(networks: Networks) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the generator's parameters, and those of its running moments."""
    slab = _flat_slab(networks.geometry)
    shapes = jax.eval_shape(networks.generator.init, jax.random.key(0), slab)
    return tuple(by_name(shapes["params"])), tuple(by_name(shapes.get(STATISTICS, {})))


@dataclasses.dataclass(frozen=True)
class Optimisers:
    """The optimisers of the two players."""

    generator: optax.GradientTransformation
    critic: optax.GradientTransformation


def create_state(
    networks: Networks,
    optimisers: Optimisers,
    key: RandomKey,
    *,
    generator: Player | None = None,
) -> TrainState:
    """Return the state before the first step, with the given generator or a fresh one."""
    if generator is None:
        params, statistics = init_generator(networks, key)
        generator = new_player(params, optimisers.generator, statistics=statistics)
    critic = None
    if networks.adversary is not None:
        critic = new_player(init_critic(networks, key), optimisers.critic)
    return TrainState(step=jnp.zeros((), jnp.int32), generator=generator, critic=critic)


def state_shapes(networks: Networks, optimisers: Optimisers) -> TrainState:
    """Return the structure, shapes and dtypes of the state without computing anything."""

    def blank() -> TrainState:
        key = jax.random.key(0)
        variables = networks.generator.init(key, _flat_slab(networks.geometry))
        statistics = variables.get(STATISTICS, {})
        generator = new_player(variables["params"], optimisers.generator, statistics=statistics)
        return create_state(networks, optimisers, key, generator=generator)

    shapes: TrainState = jax.eval_shape(blank)
    return shapes
