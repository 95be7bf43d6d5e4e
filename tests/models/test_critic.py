"""The critic: its size, its head, and its scores, each of one image alone."""

import jax
import jax.numpy as jnp
import numpy as np
import plain_networks
import pytest

from cpca_jax.models import build_critic

SMALL = {"features": (4, 4, 8, 8, 8, 8), "dense": 16}


def network(key, size=64, **fields):
    module = build_critic("wgan_vgg", **fields)
    return module, module.init(key, jnp.zeros((1, size, size, 1)))["params"]


def test_weight_count_is_the_papers(key):
    _, params = network(key)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 17_923_521


def test_scores_do_not_couple_the_examples(key):
    """The Jacobian of scores by images has zeros off its diagonal."""
    module, params = network(key, 16, **SMALL)
    images = jax.random.uniform(key, (3, 16, 16, 1))
    jacobian = jax.jacrev(lambda x: module.apply({"params": params}, x))(images)
    coupling = jnp.abs(jacobian).max(axis=(2, 3, 4))
    assert (jnp.diag(coupling) > 0).all()
    np.testing.assert_array_equal(coupling - jnp.diag(jnp.diag(coupling)), 0.0)


@pytest.mark.parametrize("size", [16, 17])
def test_scores_equal_a_direct_computation(key, size):
    module, params = network(key, size, **SMALL)
    images = jax.random.normal(key, (2, size, size, 1))
    want = [plain_networks.critic(params, np.asarray(image[..., 0])) for image in images]
    np.testing.assert_allclose(module.apply({"params": params}, images), want, rtol=1e-4, atol=1e-5)


def test_another_image_size_is_refused(key):
    module, params = network(key, 16, **SMALL)
    with pytest.raises(Exception, match="shape"):
        module.apply({"params": params}, jnp.zeros((1, 32, 32, 1)))
