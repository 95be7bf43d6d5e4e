"""The training step: order of updates, terms, determinism, and devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from cpca_jax.runs.state import Player
from cpca_jax.training import networks as networks_
from cpca_jax.training import steps
from cpca_jax.training.experiment import build_networks, build_objective
from cpca_jax.training.optim import descend, optimisers, schedule_factor
from cpca_jax.weights import feature_network


@pytest.fixture(scope="module")
def features():
    return feature_network.load_feature_network("random", tap="relu1_2")


def setup(features, tmp_path, **changes):
    experiment = tiny.configuration(tmp_path, **changes)
    networks = build_networks(experiment)
    objective = build_objective(experiment, features.spec)
    start = networks_.create_state(networks, optimisers(experiment.optim), jax.random.key(0))
    draws = steps.draws_per_step(networks, experiment.loss)
    random = np.random.default_rng(0)
    shape = (draws, 4, experiment.model.slices, 20, 20)
    batches = steps.Batches(
        random.integers(-300, 300, shape).astype(np.int16),
        random.integers(-300, 300, (draws, 4, 1, 20, 20)).astype(np.int16),
    )
    step = jax.jit(steps.make_train_step(networks, objective, unroll=True))
    return experiment, networks, objective, start, batches, step


def test_one_step_moves_both_players_and_logs_every_term(features, tmp_path, key):
    *_, start, batches, step = setup(features, tmp_path)
    after, scalars = step(start, batches, features.params, key)
    assert int(after.step) == 1
    assert int(after.critic.opt_state["adam"].count) == 2
    assert int(after.generator.opt_state["adam"].count) == 1
    for player in ("generator", "critic"):
        pairs = zip(
            jax.tree.leaves(getattr(start, player).params),
            jax.tree.leaves(getattr(after, player).params),
            strict=True,
        )
        assert any((a != b).any() for a, b in pairs)
    wanted = {"wasserstein", "penalty", "gradient_norm", "critic_loss", "adversarial"}
    wanted |= {"perceptual", "mse", "l1", "generator_loss", "learning_rate", "output_sd"}
    assert set(scalars) == wanted
    assert all(np.isfinite(v) for v in scalars.values())


def test_the_step_is_critic_updates_then_one_generator_update(features, tmp_path, key):
    """The oracle for order, signs and rates is the same step by hand with optax.adam."""
    # A large epsilon, because Adam's first step would otherwise turn rounding of tiny gradients into whole steps.
    _, networks, objective, start, batches, step = setup(features, tmp_path, optim__epsilon=1e-3)
    after, _ = step(start, batches, features.params, key)
    low, full = (objective.window.normalise(v)[..., None] for v in (batches.low, batches.full))
    keys = jax.random.split(jax.random.fold_in(key, 0), 2)
    tx = optax.adam(1e-4, b1=0.9, b2=0.999, eps=1e-3)
    critic, moments = start.critic.params, tx.init(start.critic.params)
    for k in range(2):
        fake = networks.denoise(start.generator.params, low[k])[:, 0]
        real = full[k][:, 0]
        share = jax.random.uniform(keys[k], (4, 1, 1, 1))
        mixed = share * real + (1 - share) * fake

        def loss(p, fake=fake, real=real, mixed=mixed):
            slopes = jax.vmap(jax.grad(lambda x: networks.adversary.score(p, x[None])[0]))(mixed)
            norm = jnp.sqrt(jnp.sum(slopes**2, (1, 2, 3)) + 1e-12)
            gap = (
                networks.adversary.score(p, fake).mean() - networks.adversary.score(p, real).mean()
            )
            return gap + 10 * jnp.mean((norm - 1) ** 2)

        updates, moments = tx.update(jax.grad(loss)(critic), moments)
        critic = optax.apply_updates(critic, updates)
    got = jnp.concatenate([v.ravel() for v in jax.tree.leaves(after.critic.params)])
    want = jnp.concatenate([v.ravel() for v in jax.tree.leaves(critic)])
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_unrolled_and_looped_critic_updates_are_the_same(features, tmp_path, key):
    _, networks, objective, start, batches, step = setup(features, tmp_path)
    looped = jax.jit(steps.make_train_step(networks, objective, unroll=False))
    one, _ = step(start, batches, features.params, key)
    other, _ = looped(start, batches, features.params, key)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_without_an_adversarial_weight_there_is_no_critic(features, tmp_path, key):
    changes = {"loss__adversarial": 0.0, "loss__mse": 1.0, "loss__perceptual": 0.0}
    *_, start, batches, step = setup(features, tmp_path, **changes)
    after, scalars = step(start, batches, features.params, key)
    assert after.critic is None
    assert batches.full.shape[0] == 1
    assert float(scalars["generator_loss"]) == pytest.approx(float(scalars["mse"]))


def test_three_slices_go_through_the_same_step(features, tmp_path, key):
    *_, start, batches, step = setup(features, tmp_path, model__slices=3)
    after, scalars = step(start, batches, features.params, key)
    assert np.isfinite(scalars["generator_loss"])
    assert after.generator.params["conv1"]["kernel"].shape == (3, 3, 3, 1, 4)


def test_the_critic_alone_leaves_the_generator_alone(features, tmp_path, key):
    _, networks, objective, start, batches, _ = setup(features, tmp_path)
    critic_step = jax.jit(steps.make_critic_step(networks, objective, unroll=True))
    after, scalars = critic_step(start, batches, key)
    assert int(after.step) == 0
    assert int(after.critic.opt_state["adam"].count) == 3
    assert "wasserstein" in scalars
    for a, b in zip(*(jax.tree.leaves(s.generator) for s in (start, after)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("decay", "epoch", "factor"),
    [("constant", 7, 1.0), ("inverse_epoch", 3, 0.25), ("inverse_sqrt_epoch", 3, 0.5)],
)
def test_schedules_are_constant_within_an_epoch(decay, epoch, factor, tmp_path):
    optim = tiny.configuration(tmp_path, optim__decay=decay).optim
    for step in (epoch * 10, epoch * 10 + 9):
        assert float(schedule_factor(optim, jnp.int32(step), 10)) == pytest.approx(factor)


def test_descent_goes_down():
    params, plain = {"a": jnp.ones(2)}, optax.identity()
    player = Player(params, plain.init(params))
    down = descend(player, {"a": jnp.ones(2)}, plain, jnp.float32(0.25))
    np.testing.assert_allclose(down.params["a"], 0.75)
