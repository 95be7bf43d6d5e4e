"""Loss terms against hand-made numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from cpca_jax.objectives import losses


def slab(values):
    return jnp.asarray(values, jnp.float32).reshape(len(values), 1, 1, -1, 1)


def test_pixel_losses_are_means_per_example():
    prediction, target = slab([[1.0, 3.0], [0.0, 0.0]]), slab([[0.0, 1.0], [0.0, -4.0]])
    np.testing.assert_allclose(losses.mse(prediction, target), [2.5, 8.0])
    np.testing.assert_allclose(losses.l1(prediction, target), [1.5, 2.0])


def test_the_wasserstein_estimate_is_positive_when_real_scores_higher():
    real, fake = jnp.array([3.0, 5.0]), jnp.array([1.0, 1.0])
    assert float(losses.wasserstein_estimate(real, fake)) == 3.0
    form = losses.ADVERSARIAL["wasserstein"]
    assert (float(form.critic(real, fake)), float(form.generator(fake))) == (-3.0, -1.0)


def test_terms_without_weight_do_not_count():
    terms = {"mse": jnp.float32(2.0), "l1": jnp.float32(jnp.nan)}
    assert float(losses.weighted_sum(terms, {"mse": 3.0, "l1": 0.0})) == 6.0


def test_a_weight_without_its_term_is_an_error():
    with pytest.raises(KeyError, match="perceptual"):
        losses.weighted_sum({}, {"perceptual": 1.0})
