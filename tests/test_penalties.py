"""Penalties against closed forms of linear and quadratic critics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cpca_jax import penalties


def linear(slope, size):
    """A critic whose gradient has norm `slope` over all pixels, whatever the image size."""

    def critic(images):
        return slope / size * jnp.sum(images, axis=(1, 2, 3))

    return critic


@pytest.mark.parametrize("size", [4, 16, 64])
@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 3.0])
def test_a_linear_critic_of_slope_s_gives_s_minus_1_squared(key, slope, size):
    real, fake = jax.random.uniform(key, (2, 5, size, size, 1))
    terms = penalties.two_sided(linear(slope, size), key, real, fake)
    np.testing.assert_allclose(terms.value, (slope - 1) ** 2, atol=1e-5)
    np.testing.assert_allclose(terms.gradient_norm, slope, atol=1e-5)


def test_the_norm_is_over_all_pixels_not_over_columns(key):
    """A critic that looks at one column: the released code's per-column penalty would differ."""
    real, fake = jax.random.uniform(key, (2, 3, 8, 8, 1))

    def critic(images):
        return 2.0 * images[:, 0, 0, 0]

    terms = penalties.two_sided(critic, key, real, fake)
    np.testing.assert_allclose(terms.value, 1.0, atol=1e-6)


def test_second_derivative_is_finite_at_zero_gradient(key):
    real, fake = jax.random.uniform(key, (2, 3, 8, 8, 1))

    def total(weight):
        terms = penalties.two_sided(linear(weight, 8), key, real, fake)
        return jnp.sum(terms.value)

    assert np.isfinite(jax.grad(total)(0.0))
    assert np.isfinite(jax.grad(jax.grad(total))(0.0))


def test_norms_are_those_of_each_example(key):
    """A quadratic critic: the gradient at x is x, so each example has its own known norm."""
    images = jax.random.normal(key, (4, 8, 8, 1))
    norm = penalties.input_gradient_norm(lambda x: 0.5 * jnp.sum(x**2, axis=(1, 2, 3)), images)
    np.testing.assert_allclose(norm, jnp.linalg.norm(images.reshape(4, -1), axis=1), rtol=1e-6)


def test_points_lie_on_the_line_one_number_per_example(key):
    real, fake = jnp.ones((6, 4, 4, 1)), jnp.zeros((6, 4, 4, 1))
    points = penalties.between(key, real, fake)
    assert ((points >= 0) & (points <= 1)).all()
    np.testing.assert_array_equal(points, jnp.broadcast_to(points[:, :1, :1], points.shape))
    assert len(np.unique(points)) == 6


@pytest.mark.parametrize("name", penalties.PENALTIES)
def test_every_penalty_is_finite_per_example_and_repeatable(key, name):
    real, fake = jax.random.uniform(key, (2, 5, 8, 8, 1))
    critic = linear(2.0, 8)
    first, second = (penalties.PENALTIES[name](critic, key, real, fake) for _ in range(2))
    for one, again in zip(first, second, strict=True):
        assert one.shape == (5,)
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, again)
