"""Batch normalisation: Flax's own layer, which moves its running moments only in training."""

import jax
import jax.numpy as jnp
import numpy as np

from cpca_jax.layers import STATISTICS, BatchNorm
from cpca_jax.models import build_generator
from cpca_jax.training.networks import Networks, PatchGeometry, init_generator


def layer(key, **fields):
    module = BatchNorm(momentum=0.75, **fields)
    x = 3.0 + 2.0 * jax.random.normal(key, (4, 2, 5, 6, 3))
    return module, module.init(key, x), x


def test_training_normalises_with_the_batchs_own_moments(key):
    module, variables, x = layer(key)
    y, changed = module.apply(variables, x, mutable=[STATISTICS])
    mean, variance = np.mean(x, (0, 1, 2, 3)), np.var(x, (0, 1, 2, 3))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-5), atol=1e-5)
    moved = changed[STATISTICS]
    np.testing.assert_allclose(moved["mean"], 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(moved["var"], 0.75 + 0.25 * variance, rtol=1e-5)


def test_elsewhere_it_uses_the_running_moments(key):
    module, _, x = layer(key)
    moments = {"mean": jnp.full(3, 1.0), "var": jnp.full(3, 4.0)}
    params = {"scale": jnp.full(3, 2.0), "bias": jnp.full(3, 0.5)}
    y = module.apply({"params": params, STATISTICS: moments}, x)
    np.testing.assert_allclose(y, (x - 1.0) / np.sqrt(4.0 + 1e-5) * 2.0 + 0.5, rtol=1e-5)


def test_frozen_it_never_moves(key):
    module, variables, x = layer(key, frozen=True)
    y, changed = module.apply(variables, x, mutable=[STATISTICS])
    for name, moment in changed.get(STATISTICS, {}).items():
        np.testing.assert_array_equal(moment, variables[STATISTICS][name])
    np.testing.assert_allclose(y, x / np.sqrt(1 + 1e-5), rtol=1e-5)


def test_only_the_cascades_last_stage_moves_its_moments(key):
    module = build_generator("cascade", stages=2, features=4)
    networks = Networks(module, None, PatchGeometry(1, 20))
    x = jax.random.uniform(key, (2, 1, 20, 20, 1))
    params, moments = init_generator(networks, key)
    _, moved = networks.denoise_in_training(params, moments, x)
    for name in ("stage1", "stage2"):
        same = np.array_equal(moved[name]["norm3"]["mean"], moments[name]["norm3"]["mean"])
        assert same == (name == "stage1")
