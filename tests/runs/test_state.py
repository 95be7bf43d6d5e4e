"""The state at the start: no fresh generator is dead."""

import jax
import pytest

from cpca_jax.models import build_generator
from cpca_jax.training.networks import Networks, PatchGeometry, init_generator


@pytest.mark.parametrize("slices", [1, 5])
def test_no_fresh_generator_is_dead(slices):
    """Plain draws often give zero everywhere behind the last ReLU; these draws do not."""
    module = build_generator("cpca", slices=slices)
    networks = Networks(module, None, PatchGeometry(slices, 32))
    image = 0.2 + 0.6 * jax.random.uniform(jax.random.key(9), (1, slices, 32, 32, 1))

    @jax.jit
    def alive(params):
        return (networks.denoise(params, image)[:, :, 8:-8, 8:-8] > 0).mean()

    init = jax.jit(module.init)
    plain, ours = [], []
    for seed in range(10):
        key = jax.random.key(seed)
        plain.append(float(alive(init(jax.random.fold_in(key, 0), image)["params"])))
        ours.append(float(alive(init_generator(networks, key)[0])))
    assert min(plain) == 0.0
    assert min(ours) > 0.1
