"""The networks of a training, the patches they see, and the state they start with."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

from cpca_jax.layers import STATISTICS
from cpca_jax.objectives.constraints import UNCONSTRAINED, Constraint
from cpca_jax.runs.state import CRITIC_KEY, GENERATOR_KEY, Player, TrainState
from cpca_jax.types import Centres, DenoisingNetwork, Examples, Params, RandomKey, Scores, Slabs


@dataclasses.dataclass(frozen=True)
class PatchGeometry:
    """The shape of training patches.

    Attributes:
        slices: neighbouring slices of a low-dose patch beyond its centres, plus one: those that
            one denoised slice is made from.
        size: rows and columns.
        margin: pixels at each side that losses and critic do not see.
        centres: denoised slices of a patch.
    """

    slices: int
    size: int
    margin: int = 0
    centres: int = 1

    def inner(self, centres: Array) -> Array:
        """Return centres (..., y, x, 1) without the margin."""
        end = centres.shape[-2] - self.margin
        return centres[..., self.margin : end, self.margin : end, :]


@dataclasses.dataclass(frozen=True)
class Adversary:
    """A critic and what holds its weights.

    Attributes:
        module: scores examples; its `slices` says how many neighbouring slices together.
        constraint: acts on the weights directly, without a penalty.
    """

    module: nn.Module
    constraint: Constraint = UNCONSTRAINED

    def score(self, params: Params, examples: Examples) -> Scores:
        """Score examples, the weights under their constraint; higher is more like full dose."""
        return jnp.asarray(
            self.module.apply({"params": self.constraint.effective(params)}, examples)
        )

    def examples(self, centres: Centres) -> Examples:
        """Return centres (batch, z, y, x, 1) as the critic sees them.

        Single slices, z folded into the batch; or the slabs as they are, for a critic that scores
        several slices together.
        """
        together: bool = self.module.slices > 1
        return centres if together else centres.reshape(-1, *centres.shape[2:])


@dataclasses.dataclass(frozen=True)
class Networks:
    """What plays in a training.

    Attributes:
        generator: the denoiser.
        adversary: None for objectives without an adversarial term.
        geometry: of the patches that both see.
    """

    generator: DenoisingNetwork
    adversary: Adversary | None
    geometry: PatchGeometry

    def computing_in(self, precision: str) -> "Networks":
        """Return the same networks with convolutions in "float32" or "bfloat16"."""
        dtype, adversary = jnp.dtype(precision), self.adversary
        if adversary is not None:
            module = adversary.module.clone(dtype=dtype)
            adversary = dataclasses.replace(adversary, module=module)
        generator = self.generator.clone(dtype=dtype)
        return dataclasses.replace(self, generator=generator, adversary=adversary)

    def denoise(self, params: Params, slabs: Slabs, *, statistics: Params | None = None) -> Centres:
        """Denoise slabs (batch, z, y, x, 1) in network range, by the running moments if any."""
        return jnp.asarray(self.generator.apply(generator_variables(params, statistics), slabs))

    def denoise_in_training(
        self, params: Params, statistics: Params, slabs: Slabs
    ) -> tuple[Centres, Params]:
        """Denoise by the batch's own moments, where the network normalises by batch.

        Returns:
            The centres, and the running moments moved on.
        """
        variables = generator_variables(params, statistics)
        denoised, moved = self.generator.apply(variables, slabs, mutable=[STATISTICS])
        return denoised, dict(moved.get(STATISTICS, {}))

    def examples(self, centres: Centres) -> Examples:
        """Return what the critic sees of denoised or full-dose centres: no margin."""
        assert self.adversary is not None
        return self.adversary.examples(self.geometry.inner(centres))


def generator_variables(params: Params, statistics: Params | None) -> dict[str, Any]:
    """Return a network's variables as Flax takes them."""
    return {"params": params, STATISTICS: statistics} if statistics else {"params": params}


def new_player(
    params: Params, optimiser: optax.GradientTransformation, *, statistics: Params | None = None
) -> Player:
    """Make a player at the start of its optimisation."""
    return Player(params, optimiser.init(params), {} if statistics is None else statistics)


def init_generator(networks: Networks, key: RandomKey) -> tuple[Params, Params]:
    """Draw random generator parameters that do not start dead.

    A network without biases whose last layer is a ReLU answers zero, but for a few pixels at the
    border, for about half of all random kernels: those whose answer to a bright flat image is
    negative. Such a start learns late or never. As Glorot's distribution is symmetric, mirroring
    the last kernel gives an equally likely draw that lives.

    Returns:
        Parameters, and batch normalisation's first moments.
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
    """Negate the layer that was made last; trees keep their order of making."""
    *_, last = params
    if "kernel" in params[last]:
        return {**params, last: jax.tree.map(jnp.negative, params[last])}
    if not isinstance(params[last], Mapping):
        return params  # no layer of ours: its makers know how it starts
    return {**params, last: _last_kernel_mirrored(params[last])}


def init_critic(networks: Networks, key: RandomKey) -> Params:
    """Draw random critic parameters."""
    assert networks.adversary is not None
    geometry, adversary = networks.geometry, networks.adversary
    centres = jnp.zeros((1, geometry.centres, geometry.size, geometry.size, 1), jnp.float32)
    key = jax.random.fold_in(key, CRITIC_KEY)
    params: Params = adversary.module.init(key, networks.examples(centres))["params"]
    return adversary.constraint.prepare(params, key)


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
    """Make the state before the first step, with a given generator or a fresh one."""
    if generator is None:
        params, statistics = init_generator(networks, key)
        generator = new_player(params, optimisers.generator, statistics=statistics)
    critic = None
    if networks.adversary is not None:
        critic = new_player(init_critic(networks, key), optimisers.critic)
    return TrainState(step=jnp.zeros((), jnp.int32), generator=generator, critic=critic)


def state_shapes(networks: Networks, optimisers: Optimisers) -> TrainState:
    """Return structure, shapes and dtypes of the state, without computing anything."""

    def blank() -> TrainState:
        key = jax.random.key(0)
        variables = networks.generator.init(key, _flat_slab(networks.geometry))
        statistics = variables.get(STATISTICS, {})
        generator = new_player(variables["params"], optimisers.generator, statistics=statistics)
        return create_state(networks, optimisers, key, generator=generator)

    shapes: TrainState = jax.eval_shape(blank)
    return shapes
