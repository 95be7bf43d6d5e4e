"""One training step, pure: several critic updates, then one generator update.

(state, batches, feature network's parameters, root key) -> (state, scalars). The caller adds jit,
donation and devices. The two losses are in `objective`.
"""

from collections.abc import Callable
from functools import partial

import flax.struct
import jax
from jax import Array, lax

from cpca_jax.runs.config import LossConfig
from cpca_jax.runs.state import Player, TrainState
from cpca_jax.training.accumulation import in_parts, mean_gradient, side_by_side
from cpca_jax.training.networks import Networks
from cpca_jax.training.objective import Objective, critic_loss, generator_loss
from cpca_jax.training.optim import descend
from cpca_jax.types import Centres, Examples, Leaf, Params, RandomKey, Scalar, Scalars, Slabs
from cpca_jax.units import Window


class Batches(flax.struct.PyTreeNode):
    """Fresh patches of one training step in HU: one draw per update, the generator's last.

    Attributes:
        low: The network's input slabs, int16 (draws, batch, z, y, x).
        full: The full-dose centre slices of each slab, int16 (draws, batch, centres, y, x).
    """

    low: Leaf
    full: Leaf


TrainStep = Callable[[TrainState, Batches, Params, RandomKey], tuple[TrainState, Scalars]]
CriticStep = Callable[[TrainState, Batches, RandomKey], tuple[TrainState, Scalars]]


def update_critic(
    networks: Networks,
    objective: Objective,
    critic: Player,
    real: Examples,
    fake: Examples,
    key: RandomKey,
    *,
    rate: Scalar,
    unroll: bool,
) -> tuple[Player, Scalars]:
    """Update the critic once on full-dose (real) and denoised (fake) examples."""
    assert networks.adversary is not None
    loss = partial(critic_loss, networks=networks, objective=objective)
    parts = objective.compute.accumulate
    gradient, scalars = mean_gradient(
        loss, critic.params, real, fake, key=key, parts=parts, unroll=unroll
    )
    after = descend(critic, gradient, objective.optimisers.critic, rate)
    return after.replace(params=networks.adversary.constraint.after_update(after.params)), scalars


def update_generator(
    networks: Networks,
    objective: Objective,
    state: TrainState,
    low: Slabs,
    full: Centres,
    feature_params: Params,
    *,
    unroll: bool,
) -> tuple[Player, Scalars]:
    """Update the generator once on low-dose slabs and full-dose centres."""
    rate = objective.rate(objective.optim.learning_rate, state.step)
    loss = partial(
        generator_loss,
        state=state,
        feature_params=feature_params,
        networks=networks,
        objective=objective,
    )
    gradient, (scalars, moved) = mean_gradient(
        loss,
        state.generator.params,
        low,
        full,
        key=jax.random.key(0),
        parts=objective.compute.accumulate,
        unroll=unroll,
    )
    after = descend(state.generator, gradient, objective.optimisers.generator, rate)
    return after.replace(statistics=moved), scalars | {"learning_rate": rate}


def update_critic_repeatedly(
    networks: Networks,
    objective: Objective,
    state: TrainState,
    batches: Batches,
    key: RandomKey,
    *,
    unroll: bool,
) -> tuple[TrainState, Scalars]:
    """Update the critic once per draw, each on a fresh batch; return the scalars of the last.

    The generator does not change meanwhile, so it denoises all draws at once.
    """
    assert state.critic is not None
    low, full = _normalised(objective.window, batches)
    draws = low.shape[0]
    generator = state.generator
    denoised = in_parts(
        lambda slabs: networks.denoise_in_training(generator.params, generator.statistics, slabs)[
            0
        ],
        side_by_side(low),
        objective.compute.accumulate,
        unroll=unroll,
    )
    centres = lax.stop_gradient(denoised.reshape(-1, draws, *full.shape[2:]).swapaxes(0, 1))
    fakes, reals = jax.vmap(networks.examples)(centres), jax.vmap(networks.examples)(full)
    rate = objective.rate(objective.optim.critic_learning_rate, state.step)

    def update(critic: Player, draw: tuple[Array, Array, RandomKey]) -> tuple[Player, Scalars]:
        real, fake, key = draw
        return update_critic(networks, objective, critic, real, fake, key, rate=rate, unroll=unroll)

    keys = jax.random.split(key, draws)
    if not unroll:
        critic, many = lax.scan(update, state.critic, (reals, fakes, keys))
        return state.replace(critic=critic), jax.tree.map(lambda x: x[-1], many)
    # Not scan's own `unroll`: for a single draw it leaves a loop, seven times slower on CPU.
    critic = state.critic
    for number in range(draws):
        critic, scalars = update(critic, (reals[number], fakes[number], keys[number]))
    return state.replace(critic=critic), scalars


def make_train_step(networks: Networks, objective: Objective, *, unroll: bool) -> TrainStep:
    """Return the step: critic updates on all draws but the last, then a generator update on that.

    Args:
        networks: The generator and the critic; without a critic there are no critic updates.
        objective: The weights, the penalty and the rates.
        unroll: True to write the critic updates out instead of looping. On CPU a convolution's
            gradient is 70 times slower inside a loop; on accelerators the loop compiles faster.
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
        low, full = _normalised(objective.window, jax.tree.map(lambda x: x[-1], batches))
        generator, more = update_generator(
            networks, objective, state, low, full, feature_params, unroll=unroll
        )
        return state.replace(step=state.step + 1, generator=generator), scalars | more

    return train_step


def unrolled_here() -> bool:
    """Tell whether to write loops out on this process's devices, see `make_train_step`."""
    return jax.default_backend() == "cpu"


def make_critic_step(networks: Networks, objective: Objective, *, unroll: bool) -> CriticStep:
    """Return the step that updates the critic alone, on all draws.

    It is for a 2D model that was not trained in the GAN framework: the deck's discussion says to
    train a critic to convergence first, then to fine-tune.
    """
    networks = networks.computing_in(objective.compute.precision)

    def critic_step(
        state: TrainState, batches: Batches, key: RandomKey
    ) -> tuple[TrainState, Scalars]:
        return update_critic_repeatedly(networks, objective, state, batches, key, unroll=unroll)

    return critic_step


def draws_per_step(networks: Networks, loss: LossConfig) -> int:
    """Return the number of fresh batches of a step: one per critic update and the generator's."""
    return 1 + (loss.critic_steps if networks.adversary is not None else 0)


def _normalised(window: Window, batches: Batches) -> tuple[Array, Array]:
    """Return the patches in network range, with a channel axis."""
    return window.normalise(batches.low)[..., None], window.normalise(batches.full)[..., None]
