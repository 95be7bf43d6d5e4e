"""The state: fresh generators live."""

import jax
import jax.numpy as jnp
import pytest

from cpca_jax.models import build_generator
from cpca_jax.state import Networks, init_generator


@pytest.mark.parametrize("slices", [1, 5])
def test_no_fresh_generator_is_dead(slices):
    """Of plain draws about half are: constant zero behind the last ReLU, zero gradient for ever."""
    module = build_generator("cpca", slices=slices, features=8)
    networks = Networks(module, None, slices=slices, patch=20)
    image = jax.random.uniform(jax.random.key(9), (1, slices, 20, 20, 1))
    dead = 0
    for seed in range(12):
        key = jax.random.key(seed)
        plain = module.init(jax.random.fold_in(key, 0), image)["params"]
        dead += not bool((networks.denoise(plain, image) > 0).any())
        params = init_generator(networks, key)
        gradient = jax.grad(lambda p: jnp.sum(networks.denoise(p, image)))(params)
        assert any(bool((g != 0).any()) for g in jax.tree.leaves(gradient))
    assert dead > 0
