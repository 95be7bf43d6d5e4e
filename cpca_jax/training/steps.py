"""One training step, pure: several critic updates, then one generator update.

(state, batches, feature network's parameters, root key) -> (state, scalars). jit, donation and
devices are put on from outside. Each player has its own update; `make_train_step` joins them.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import flax.struct
import jax
import jax.numpy as jnp
from jax import Array, lax

from cpca_jax.objectives import losses, penalties, perceptual
from cpca_jax.objectives.perceptual import FeatureSpec
from cpca_jax.runs.config import ComputeConfig, LossConfig, OptimConfig, PerceptualConfig
from cpca_jax.runs.state import Networks, Player, TrainState
from cpca_jax.training import optim
from cpca_jax.training.accumulation import in_parts, mean_gradient, side_by_side
from cpca_jax.types import Centres, Examples, Leaf, Params, RandomKey, Scalar, Scalars, Slabs
from cpca_jax.units import Window


class Batches(flax.struct.PyTreeNode):
    """Fresh patches of one training step in HU; one draw per update, the generator's last.

    Attributes:
        low: int16 (draws, batch, z, y, x), the network's input slabs.
        full: int16 (draws, batch, centres, y, x), the full-dose centre slices of each.
    """

    low: Leaf
    full: Leaf


T = TypeVar("T")
TrainStep = Callable[[TrainState, Batches, Params, RandomKey], tuple[TrainState, Scalars]]


@dataclasses.dataclass(frozen=True)
class Objective:
    """What the step needs to know besides the networks; all of it static."""

    loss: LossConfig
    optim: OptimConfig
    perceptual: PerceptualConfig
    features: FeatureSpec
    window: Window
    steps_per_epoch: int
    frozen: tuple[str, ...] = ()
    compute: ComputeConfig = dataclasses.field(default_factory=ComputeConfig)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each generator term by name."""
        names = ("adversarial", "perceptual", "mse", "l1")
        return {name: getattr(self.loss, name) for name in names}


def update_critic(
    networks: Networks,
    objective: Objective,
    critic: Player,
    pair: tuple[Examples, Examples],
    rate_and_key: tuple[Scalar, RandomKey],
    *,
    unroll: bool,
) -> tuple[Player, Scalars]:
    """One critic update on (full dose, denoised): tell them apart, hold the gradient's norm."""
    rate, key = rate_and_key

    def loss(
        params: Params, pair: tuple[Examples, Examples], key: RandomKey
    ) -> tuple[Scalar, Scalars]:
        real, fake = pair

        def score(examples: Examples) -> Array:
            return _again(objective, networks.score)(params, examples)

        # Side by side, not end to end: devices that share the batch keep their examples.
        of_real, of_fake = score(side_by_side(real, fake)).reshape(-1, 2).T
        estimate = losses.wasserstein_estimate(of_real, of_fake)
        terms = penalties.PENALTIES[objective.loss.penalty](score, key, real, fake)
        penalty = jnp.mean(terms.value)
        form = losses.ADVERSARIAL[objective.loss.adversarial_form]
        total = form.critic(of_real, of_fake) + objective.loss.penalty_weight * penalty
        scalars = {"wasserstein": estimate, "penalty": penalty, "critic_loss": total}
        return total, scalars | {"gradient_norm": jnp.mean(terms.gradient_norm)}

    parts = objective.compute.accumulate
    gradient, scalars = mean_gradient(loss, critic.params, pair, key, parts, unroll=unroll)
    after = _descend(critic, gradient, objective.optim, rate)
    return after.replace(params=networks.constraint.after_update(after.params)), scalars


def update_generator(
    networks: Networks,
    objective: Objective,
    state: TrainState,
    pair: tuple[Slabs, Centres],
    feature_params: Params,
    *,
    unroll: bool,
) -> tuple[Player, Scalars]:
    """One generator update on (low-dose slabs, full-dose centres)."""
    rate = objective.optim.learning_rate * _factor(objective, state.step)

    def loss(
        params: Params, pair: tuple[Slabs, Centres], _: RandomKey
    ) -> tuple[Scalar, tuple[Scalars, Params]]:
        low, full = pair
        denoised, moved = _again(objective, networks.denoise_in_training)(params, low)
        inner, target = networks.inner(denoised), networks.inner(full)
        terms = {name: jnp.mean(f(inner, target)) for name, f in losses.PIXEL_LOSSES.items()}
        if state.critic is not None:
            scores = networks.score(state.critic.params, networks.examples(denoised))
            form = losses.ADVERSARIAL[objective.loss.adversarial_form]
            terms["adversarial"] = form.generator(scores)
        if objective.loss.perceptual:
            distance = perceptual.perceptual_distance(
                feature_params,
                inner,
                target,
                spec=objective.features,
                reduction=objective.perceptual.reduction,
                norm=objective.perceptual.norm,
                dtype=objective.compute.precision,
            )
            terms["perceptual"] = jnp.mean(distance)
        # A constant answer (a dead last ReLU) shows here long before it shows in a score.
        scalars = terms | {"output_sd": jnp.mean(jnp.std(inner, axis=(1, 2, 3, 4)))}
        total = losses.weighted_sum(terms, objective.weights)
        return total, (scalars | {"generator_loss": total}, moved)

    params, parts = state.generator.params, objective.compute.accumulate
    # No term of the generator's is random.
    unused = jax.random.key(0)
    gradient, (scalars, moved) = mean_gradient(loss, params, pair, unused, parts, unroll=unroll)
    scalars |= {"learning_rate": rate}
    gradient = optim.decayed(gradient, params, objective.optim.weight_decay)
    player = state.generator.replace(params=moved)
    return _descend(player, gradient, objective.optim, rate, frozen=objective.frozen), scalars


def update_critic_repeatedly(
    networks: Networks,
    objective: Objective,
    state: TrainState,
    batches: Batches,
    key: RandomKey,
    *,
    unroll: bool,
) -> tuple[TrainState, Scalars]:
    """One critic update per draw, each on a fresh batch; scalars of the last.

    The generator stands still meanwhile, so it denoises all draws at once.
    """
    low, full = _normalised(objective.window, batches)
    draws = low.shape[0]
    denoised = in_parts(
        lambda slabs: networks.denoise_in_training(state.generator.params, slabs)[0],
        side_by_side(*low),
        objective.compute.accumulate,
    )
    centres = lax.stop_gradient(denoised.reshape(-1, draws, *full.shape[2:]).swapaxes(0, 1))
    fake, full = jax.vmap(networks.examples)(centres), jax.vmap(networks.examples)(full)
    rate = objective.optim.critic_learning_rate * _factor(objective, state.step)

    def body(critic: Player, draw: tuple[Array, Array, RandomKey]) -> tuple[Player, Scalars]:
        real, fake, key = draw
        pair = (real, fake)
        return update_critic(networks, objective, critic, pair, (rate, key), unroll=unroll)

    assert state.critic is not None
    keys = jax.random.split(key, draws)
    if not unroll:
        critic, many = lax.scan(body, state.critic, (full, fake, keys))
        return state.replace(critic=critic), jax.tree.map(lambda x: x[-1], many)
    # Not scan's own `unroll`: with a single draw that leaves a loop, seven times slower on CPU.
    critic = state.critic
    for draw in range(draws):
        critic, scalars = body(critic, (full[draw], fake[draw], keys[draw]))
    return state.replace(critic=critic), scalars


def make_train_step(networks: Networks, objective: Objective, *, unroll: bool) -> TrainStep:
    """The step of an experiment: critic updates on all draws but the last, the generator's on that.

    Args:
        networks: generator and critic; without a critic there are no critic updates.
        objective: weights, penalty, rates.
        unroll: write the critic updates out instead of looping. On CPU a convolution's gradient
            inside a loop is 70 times slower than outside; on accelerators the loop compiles faster.
    """
    networks = networks.computing_in(objective.compute.precision)

    def train_step(
        state: TrainState, batches: Batches, feature_params: Params, key: RandomKey
    ) -> tuple[TrainState, Scalars]:
        scalars: Scalars = {}
        if state.critic is not None:
            state, scalars = update_critic_repeatedly(
                networks,
                objective,
                state,
                jax.tree.map(lambda x: x[:-1], batches),
                jax.random.fold_in(key, state.step),
                unroll=unroll,
            )
        pair = _normalised(objective.window, jax.tree.map(lambda x: x[-1], batches))
        generator, more = update_generator(
            networks, objective, state, pair, feature_params, unroll=unroll
        )
        return state.replace(step=state.step + 1, generator=generator), scalars | more

    return train_step


def unrolled_here() -> bool:
    """Whether loops are written out on this process's devices, see `make_train_step`."""
    return jax.default_backend() == "cpu"


def make_critic_step(
    networks: Networks, objective: Objective, *, unroll: bool
) -> Callable[[TrainState, Batches, RandomKey], tuple[TrainState, Scalars]]:
    """The critic's updates alone, on all draws.

    For a 2D model that was not trained in the GAN framework: the deck's discussion says to train
    a critic to convergence first, then to fine-tune.
    """
    networks = networks.computing_in(objective.compute.precision)

    def critic_step(
        state: TrainState, batches: Batches, key: RandomKey
    ) -> tuple[TrainState, Scalars]:
        return update_critic_repeatedly(networks, objective, state, batches, key, unroll=unroll)

    return critic_step


def draws_per_step(networks: Networks, loss: LossConfig) -> int:
    """Fresh batches a training step takes: one per critic update and one for the generator."""
    return 1 + (loss.critic_steps if networks.critic is not None else 0)


def _again(objective: Objective, function: Callable[..., T]) -> Callable[..., T]:
    """The function, computed again in the backward pass where memory is to be saved."""
    return jax.checkpoint(function) if objective.compute.rematerialise else function


def _normalised(window: Window, batches: Batches) -> tuple[Array, Array]:
    """HU to network range, with a channel axis."""
    return window.normalise(batches.low)[..., None], window.normalise(batches.full)[..., None]


def _factor(objective: Objective, step: Array) -> Scalar:
    return optim.schedule_factor(objective.optim, step, objective.steps_per_epoch)


def _descend(
    player: Player,
    gradient: Params,
    config: OptimConfig,
    rate: Scalar,
    *,
    frozen: tuple[str, ...] = (),
) -> Player:
    direction, opt_state = optim.adam(config).update(gradient, player.opt_state)
    direction = optim.held(direction, frozen)
    return Player(params=optim.descend(player.params, direction, rate), opt_state=opt_state)
