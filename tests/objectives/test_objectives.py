"""Every objective, penalty and method through the one training step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cpca_jax import trees
from cpca_jax.objectives import losses
from cpca_jax.objectives.penalties import PENALTIES
from cpca_jax.training import networks as networks_
from cpca_jax.training import optim, steps
from cpca_jax.training.experiment import build_networks, build_objective
from cpca_jax.weights import feature_network

pytestmark = pytest.mark.slow

SOFTPLUS = np.log1p(np.exp(np.array([-2.0, 1.0, 0.5])))
# Compiling is what costs: one critic update of a critic of two layers.
QUICK = {
    "critic__fields__features": (2, 3),
    "loss__critic_steps": 1,
    "loss__perceptual": 0.0,
}
METHODS = {
    "cnn": {"model__name": "cnn", "model__fields__features": (4, 3)},
    "red_cnn": {
        "model__name": "red_cnn",
        "data__patch": 24,
        "model__fields__init_sd": 0.15,
        "optim__learning_rate": 3e-3,
    },
    "wgan_vgg": {"model__name": "wgan_vgg"},
    "cascade": {"model__name": "cascade", "model__fields__stages": 2},
    "gan3d": {
        "model__name": "gan3d",
        "model__fields__features": (3, 3, 4, 4, 5, 5),
        "model__slices": 3,
    },
    "map_nn": {"model__name": "map_nn", "model__fields__repetitions": 2},
}


@pytest.fixture(scope="module")
def features():
    return feature_network.load_feature_network("random", tap="relu1_2")


def run(features, tmp_path, count=1, seed=0, **changes):
    """Run a few steps on noise; return the first state, the last state and the last scalars."""
    experiment = tiny.configuration(tmp_path, **(QUICK | changes))
    networks = build_networks(experiment)
    objective = build_objective(experiment, features.spec)
    start = networks_.create_state(
        networks, optim.optimisers(experiment.optim), jax.random.key(seed)
    )
    step = jax.jit(steps.make_train_step(networks, objective, unroll=True))
    draws, data = steps.draws_per_step(networks, experiment.loss), experiment.data
    random = np.random.default_rng(seed)
    depth, edge = experiment.model.slices + data.centres - 1, data.patch
    now = start
    for _ in range(count):
        clean = random.integers(-200, 200, (draws, 4, depth, 1, 1))
        low = clean + random.integers(-60, 60, (draws, 4, depth, edge, edge))
        half = (depth - data.centres) // 2
        full = np.broadcast_to(clean, low.shape)[:, :, half : half + data.centres]
        batches = steps.Batches(low.astype(np.int16), full.astype(np.int16))
        now, scalars = step(now, batches, features.params, jax.random.key(seed))
    return networks, start, now, {k: float(v) for k, v in scalars.items()}


def largest_change(before, after):
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def test_adversarial_forms_are_the_published_ones():
    real, fake = np.array([2.0, -1.0, -0.5]), np.array([0.5, 0.0, -3.0])
    forms = losses.ADVERSARIAL
    of_fake = np.log1p(np.exp(np.array([0.5, 0.0, -3.0])))
    want = {
        "wasserstein": (np.mean(fake) - np.mean(real), -np.mean(fake)),
        "cross_entropy": (np.mean(SOFTPLUS + of_fake), np.mean(np.log1p(np.exp(-fake)))),
        "hinge": ((0 + 2 + 1.5 + 1.5 + 1 + 0) / 3, -np.mean(fake)),
        "least_squares": (
            (1 + 4 + 2.25 + 0.25 + 0 + 9) / 3,
            (0.25 + 1 + 16) / 3,
        ),
    }
    assert set(want) == set(forms)
    for name, (critic, generator) in want.items():
        scores = jnp.asarray(real), jnp.asarray(fake)
        assert float(forms[name].critic(*scores)) == pytest.approx(critic, rel=1e-5), name
        assert float(forms[name].generator(scores[1])) == pytest.approx(generator, rel=1e-5), name


@pytest.mark.parametrize("form", losses.ADVERSARIAL)
def test_every_adversarial_form_trains_both_players(features, tmp_path, form):
    _, start, after, scalars = run(features, tmp_path, loss__adversarial_form=form)
    assert all(np.isfinite(v) for v in scalars.values())
    assert largest_change(start.generator.params, after.generator.params) > 0
    assert largest_change(start.critic.params, after.critic.params) > 0


@pytest.mark.parametrize("name", PENALTIES)
def test_every_penalty_trains_for_a_few_steps(features, tmp_path, name):
    networks, start, after, scalars = run(
        features,
        tmp_path,
        count=3,
        loss__penalty=name,
        loss__penalty_weight=PENALTIES[name].weight,
    )
    assert all(np.isfinite(v) for v in scalars.values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    assert largest_change(start.critic.params, after.critic.params) > 0
    if name == "weight_clipping":
        largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(after.critic.params))
        assert largest <= 0.0100001
    if name == "spectral_norm":
        effective = networks.adversary.constraint.effective(after.critic.params)
        for layer in effective.values():
            kernel = np.asarray(layer["kernel"]).reshape(-1, layer["kernel"].shape[-1])
            assert np.linalg.svd(kernel, compute_uv=False)[0] == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    "weights",
    [
        {"mse": 1.0},
        {"l1": 1.0},
        {"perceptual": 1.0},
        {"mse": 1.0, "adversarial": 0.01},
        {"l1": 0.5, "perceptual": 0.1},
        {"mse": 1.0, "l1": 2.0, "perceptual": 0.5, "adversarial": 0.1},
    ],
)
def test_the_objective_is_the_weighted_sum_of_its_terms(features, tmp_path, weights):
    every = dict.fromkeys(("mse", "l1", "perceptual", "adversarial"), 0.0) | weights
    changes = {f"loss__{name}": weight for name, weight in every.items()}
    _, _, after, scalars = run(features, tmp_path, **changes)
    assert (after.critic is not None) == ("adversarial" in weights)
    total = sum(weight * scalars[name] for name, weight in weights.items())
    assert scalars["generator_loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_with_mean_squared_error(features, tmp_path, name):
    changes = {"loss__adversarial": 0.0, "loss__perceptual": 0.0, "loss__mse": 1.0}
    changes |= {"optim__learning_rate": 2e-3, "optim__decay": "constant"} | METHODS[name]
    *_, first = run(features, tmp_path, **changes)
    *_, after, last = run(features, tmp_path, count=25, **changes)
    assert last["mse"] < 0.8 * first["mse"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))


def test_the_3d_critic_scores_slabs_of_the_generators_answer(features, tmp_path):
    changes = METHODS["gan3d"] | {
        "data__centres": 5,
        "critic__name": "gan3d",
        "critic__fields__features": (2, 3, 4),
        "critic__fields__dense": 4,
        "loss__adversarial_form": "cross_entropy",
        "loss__mse": 1.0,
    }
    networks, start, after, scalars = run(features, tmp_path, **changes)
    assert networks.examples(jnp.zeros((2, 5, 20, 20, 1))).shape == (2, 5, 20, 20, 1)
    assert largest_change(start.critic.params, after.critic.params) > 0
    assert all(np.isfinite(v) for v in scalars.values())


def test_a_critic_of_slices_sees_all_centres(features, tmp_path):
    networks, *_, scalars = run(features, tmp_path, data__centres=3)
    assert networks.examples(jnp.zeros((2, 3, 20, 20, 1))).shape == (6, 20, 20, 1)
    assert np.isfinite(scalars["wasserstein"])


def test_batch_moments_move_with_the_generators_update_only(features, tmp_path):
    """The critic's updates use them and leave them."""
    changes = METHODS["gan3d"] | {"loss__critic_steps": 3}
    _, start, after, _ = run(features, tmp_path, **changes)
    before, now = (trees.by_name(s.generator.statistics) for s in (start, after))
    # After one update with momentum 0.99 from a variance of 1 at least 0.99 is left.
    assert (now["norm1/var"] != before["norm1/var"]).all()
    assert (now["norm1/var"] >= 0.99).all()


def test_the_margin_is_context_only(features, tmp_path):
    """Full dose in the margin changes nothing; low dose there does."""
    experiment = tiny.configuration(
        tmp_path, **(QUICK | {"data__margin": 3, "loss__mse": 1.0, "data__patch": 22})
    )
    networks = build_networks(experiment)
    objective = build_objective(experiment, features.spec)
    start = networks_.create_state(networks, optim.optimisers(experiment.optim), jax.random.key(0))
    assert networks.examples(jnp.zeros((2, 1, 22, 22, 1))).shape == (2, 16, 16, 1)
    step = jax.jit(steps.make_train_step(networks, objective, unroll=True))
    random = np.random.default_rng(0)
    low, full = random.integers(-200, 200, (2, 2, 2, 1, 22, 22)).astype(np.int16)

    def scalars(low, full):
        batches = steps.Batches(low, full)
        _, values = step(start, batches, features.params, jax.random.key(0))
        return np.array([float(v) for v in values.values()])

    plain = scalars(low, full)
    rim = np.ones_like(full)
    rim[..., 3:-3, 3:-3] = 0
    np.testing.assert_array_equal(scalars(low, full + 50 * rim), plain)
    assert (scalars(low + 50 * rim, full) != plain).any()
    assert (scalars(low, full + 50 * (1 - rim)) != plain).any()


def test_frozen_leaves_stay_and_the_others_move(features, tmp_path):
    changes = {"train__frozen": ("conv[12]/.*",), "optim__weight_decay": 0.1}
    _, start, after, _ = run(features, tmp_path, count=2, **changes)
    for name in start.generator.params:
        change = largest_change(start.generator.params[name], after.generator.params[name])
        assert (change == 0) == (name in {"conv1", "conv2"}), name


def test_weight_decay_adds_kernels_to_the_gradient_and_leaves_biases(tmp_path):
    params = {"a": {"kernel": jnp.full(3, 2.0), "bias": jnp.full(1, 2.0)}}
    gradient = jax.tree.map(jnp.ones_like, params)
    plain = tiny.configuration(tmp_path, optim__epsilon=1e9).optim  # Adam divides by a constant
    decayed = dataclasses.replace(plain, weight_decay=0.5)

    def direction(config):
        optimiser = optim.optimisers(config).generator
        return optimiser.update(gradient, optimiser.init(params), params)[0]["a"]

    one, other = direction(plain), direction(decayed)
    np.testing.assert_allclose(other["kernel"] / one["kernel"], 2.0, rtol=1e-5)
    np.testing.assert_allclose(other["bias"] / one["bias"], 1.0, rtol=1e-5)


def test_the_exponential_schedule_halves_every_half_life(tmp_path):
    chosen = tiny.configuration(tmp_path, optim__decay="exponential", optim__half_life=2.0).optim
    factors = [float(optim.schedule_factor(chosen, jnp.int32(10 * e), 10)) for e in (0, 2, 4)]
    assert factors == pytest.approx([1.0, 0.5, 0.25])


def test_a_dead_start_is_mirrored_at_any_depth():
    """MAP-NN keeps its layers in a module of its own: the last kernel is found there too."""
    for seed in range(6):
        experiment = tiny.configuration(
            "unused", model__name="map_nn", model__fields__repetitions=1
        )
        networks = build_networks(experiment)
        params, _ = networks_.init_generator(networks, jax.random.key(seed))
        slab = jnp.ones((1, 1, 20, 20, 1))
        assert float(networks.denoise(params, slab)[0, 0, 10, 10, 0]) > 0
