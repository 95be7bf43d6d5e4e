"""Every regulariser of the critic against closed forms of linear and quadratic critics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CHECKOUT

from cpca_jax.models import build_critic
from cpca_jax.objectives import constraints, penalties
from cpca_jax.objectives.penalties import PENALTIES

# What each penalty of a critic with gradient norm s is, the same at all points.
OF_SLOPE = {
    "two_sided": lambda s: (s - 1) ** 2,
    "one_sided": lambda s: max(0.0, s - 1) ** 2,
    "zero_centred": lambda s: s**2,
    "r1": lambda s: s**2 / 2,
    "r2": lambda s: s**2 / 2,
    "dragan": lambda s: (s - 1) ** 2,
    "wgan_div": lambda s: s**6,
    # All columns of a square image have the same share of the norm.
    "as_released": lambda s, size=1: (s / np.sqrt(size) - 1) ** 2,
    "weight_clipping": lambda s: 0.0,
    "spectral_norm": lambda s: 0.0,
}


def linear(slope, size):
    """Return a critic whose gradient has norm `slope` over all pixels, for any image size."""

    def critic(images):
        return slope / size * jnp.sum(images, axis=(1, 2, 3))

    return critic


def quadratic(images):
    """Return a critic whose gradient at x is x."""
    return 0.5 * jnp.sum(images**2, axis=tuple(range(1, images.ndim)))


def norms(images):
    return jnp.linalg.norm(images.reshape(len(images), -1), axis=1)


@pytest.mark.parametrize("size", [4, 16, 64])
@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("name", PENALTIES)
def test_a_linear_critic_gives_the_closed_form(key, name, slope, size):
    real, fake = jax.random.uniform(key, (2, 5, size, size, 1))
    value, norm = PENALTIES[name](linear(slope, size), key, real, fake)
    of_slope = OF_SLOPE[name]
    want = of_slope(slope, size) if name == "as_released" else of_slope(slope)
    np.testing.assert_allclose(value, np.full(5, want), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm, slope, rtol=1e-5, atol=1e-5)


def test_the_norm_is_over_all_pixels_not_over_columns(key):
    """A critic that looks at one pixel: norm 2 in all, 2 in one column and 0 in seven."""
    real, fake = jax.random.uniform(key, (2, 3, 8, 8, 1))

    def critic(images):
        return 2.0 * images[:, 0, 0, 0]

    np.testing.assert_allclose(PENALTIES["two_sided"](critic, key, real, fake).value, 1, atol=1e-6)
    released = PENALTIES["as_released"](critic, key, real, fake)
    np.testing.assert_allclose(released.value, (1 + 7) / 8, atol=1e-5)
    np.testing.assert_allclose(released.gradient_norm, 2, atol=1e-5)


def test_as_released_sums_over_rows(key):
    """The sum runs along y in every column, as in the released code, not along x."""
    real, fake = jax.random.uniform(key, (2, 3, 8, 8, 1))
    one_row = PENALTIES["as_released"](lambda x: jnp.sum(x[:, 2], axis=(1, 2)), key, real, fake)
    one_column = PENALTIES["as_released"](
        lambda x: jnp.sum(x[:, :, 2], axis=(1, 2)), key, real, fake
    )
    np.testing.assert_allclose(one_row.value, 0, atol=1e-5)
    np.testing.assert_allclose(one_column.value, ((8**0.5 - 1) ** 2 + 7) / 8, rtol=1e-5)


def test_r1_looks_at_full_dose_and_r2_at_the_generators_answer(key):
    real, fake = jax.random.normal(key, (2, 4, 6, 6, 1))
    np.testing.assert_allclose(
        PENALTIES["r1"](quadratic, key, real, fake).value, norms(real) ** 2 / 2, rtol=1e-5
    )
    np.testing.assert_allclose(
        PENALTIES["r2"](quadratic, key, real, fake).value, norms(fake) ** 2 / 2, rtol=1e-5
    )


def test_dragan_looks_between_full_dose_and_noise_of_half_its_spread(key):
    real = 5.0 + jax.random.normal(key, (300, 4, 4, 1))
    away = np.asarray(penalties.around(key, real) - real)
    assert away.min() >= 0
    assert 0.45 < away.max() / float(real.std()) <= 0.5
    # Share and noise are independent and uniform: the mean is a quarter of the largest.
    assert away.mean() / float(real.std()) == pytest.approx(0.125, rel=0.1)
    shares = away.max(axis=(1, 2, 3))
    assert shares.min() < 0.1 * shares.max()
    norm = PENALTIES["dragan"](quadratic, key, real, jnp.zeros_like(real)).gradient_norm
    np.testing.assert_allclose(norm, norms(real + away), rtol=1e-5)


@pytest.mark.parametrize("name", ["two_sided", "one_sided", "zero_centred", "wgan_div"])
def test_others_look_at_the_line(key, name):
    real, fake = jax.random.normal(key, (2, 4, 6, 6, 1))
    norm = PENALTIES[name](quadratic, key, real, fake).gradient_norm
    np.testing.assert_allclose(norm, norms(penalties.between(key, real, fake)), rtol=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_second_derivatives_are_finite_at_zero_gradient(key, name):
    real, fake = jax.random.uniform(key, (2, 3, 8, 8, 1))

    def total(weight):
        return jnp.sum(PENALTIES[name](linear(weight, 8), key, real, fake).value)

    assert np.isfinite(jax.grad(total)(0.0))
    assert np.isfinite(jax.grad(jax.grad(total))(0.0))


def test_norms_are_those_of_each_example(key):
    images = jax.random.normal(key, (4, 8, 8, 1))
    norm = penalties.input_gradient_norm(quadratic, images)
    np.testing.assert_allclose(norm, norms(images), rtol=1e-6)


def test_points_lie_on_the_line_one_number_per_example(key):
    real, fake = jnp.ones((6, 4, 4, 1)), jnp.zeros((6, 4, 4, 1))
    points = penalties.between(key, real, fake)
    assert ((points >= 0) & (points <= 1)).all()
    np.testing.assert_array_equal(points, jnp.broadcast_to(points[:, :1, :1], points.shape))
    assert len(np.unique(points)) == 6


@pytest.mark.parametrize("shape", [(8, 8, 1), (5, 8, 8, 1)])
@pytest.mark.parametrize("name", PENALTIES)
def test_every_penalty_is_per_example_repeatable_and_jits(key, name, shape):
    """Slices and slabs; the same key gives the same; compiled or not; mapped over seeds."""
    real, fake = jax.random.uniform(key, (2, 5, *shape))

    def terms(key):
        return PENALTIES[name](quadratic, key, real, fake)

    first, compiled = terms(key), jax.jit(terms)(key)
    many = jax.vmap(terms)(jnp.stack([key, jax.random.fold_in(key, 1)]))
    for one, again, mapped in zip(first, compiled, many, strict=True):
        assert one.shape == (5,)
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, again, rtol=1e-5)
        np.testing.assert_allclose(one, mapped[0], rtol=1e-5)


def test_every_row_has_a_weight_and_a_source():
    for name, row in PENALTIES.items():
        constrained = row.constraint is not constraints.UNCONSTRAINED
        assert (row.weight == 0) == constrained, name
        assert row.source
    assert {name: row.weight for name, row in PENALTIES.items() if row.weight != 10} == {
        "one_sided": 5.0,
        "wgan_div": 2.0,
        "weight_clipping": 0.0,
        "spectral_norm": 0.0,
    }


@pytest.fixture
def critic_params(key):
    critic = build_critic("wgan_vgg", features=(4, 4, 6, 6, 8, 8), dense=10)
    return critic, critic.init(key, jnp.zeros((1, 16, 16, 1)))["params"]


def test_clipping_holds_every_weight(critic_params):
    _, params = critic_params
    held = constraints.clipped(params)
    assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(held)) == pytest.approx(0.01)
    small = jax.tree.map(lambda leaf: 0.001 * leaf, params)
    for a, b in zip(
        *(jax.tree.leaves(t) for t in (small, constraints.clipped(small))), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_spectral_normalisation_makes_the_first_singular_value_one(critic_params, key):
    critic, params = critic_params
    prepared = constraints.with_vectors(params, key)
    for _ in range(30):
        prepared = constraints.with_next_vectors(prepared)
    effective = constraints.normalised(prepared)
    assert jax.tree.structure(effective) == jax.tree.structure(params)
    for layer in effective:
        matrix = np.asarray(effective[layer]["kernel"]).reshape(
            -1, params[layer]["kernel"].shape[-1]
        )
        assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, rel=2e-3), layer
        np.testing.assert_array_equal(effective[layer]["bias"], params[layer]["bias"])
    assert critic.apply({"params": effective}, jnp.ones((2, 16, 16, 1))).shape == (2,)


def test_no_gradient_flows_through_the_singular_vectors(key):
    """For a 1x1 kernel W, d(W/|W|)/dW = 0; and in general the derivative is that of u, v fixed."""
    params = {"a": {"kernel": jax.random.normal(key, (3, 4))}}
    prepared = constraints.with_vectors(params, key)

    def first(kernel):
        tree = {"a": {"kernel": kernel, constraints.VECTOR: prepared["a"][constraints.VECTOR]}}
        return constraints.normalised(tree)["a"]["kernel"][0, 0]

    kernel = np.asarray(params["a"]["kernel"], np.float64)
    right = np.asarray(prepared["a"][constraints.VECTOR], np.float64)
    left = kernel @ right / np.linalg.norm(kernel @ right)
    right = kernel.T @ left / np.linalg.norm(kernel.T @ left)
    sigma = left @ kernel @ right
    want = -kernel[0, 0] / sigma**2 * np.outer(left, right)
    want[0, 0] += 1 / sigma
    np.testing.assert_allclose(jax.grad(first)(params["a"]["kernel"]), want, atol=1e-5)


def test_the_guides_example_works(key, monkeypatch):
    """The code block of docs/penalties.md is run as it stands; its row lasts for this test."""
    table = penalties.PENALTIES
    monkeypatch.setattr(table, "_rows", dict(table._rows))
    text = (CHECKOUT / "docs" / "penalties.md").read_text()
    exec(text.split("```python\n")[1].split("```")[0], {})
    real, fake = jax.random.uniform(key, (2, 5, 8, 8, 1))
    value, norm = table["r1_r2"](linear(3.0, 8), key, real, fake)
    np.testing.assert_allclose(value, 9.0, rtol=1e-5)
    np.testing.assert_allclose(norm, 3.0, rtol=1e-5)
