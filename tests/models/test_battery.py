"""One battery of requirements that every denoiser and every critic must meet."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cpca_jax import trees
from cpca_jax.layers import STATISTICS
from cpca_jax.models import CRITICS, MODELS, build_critic, build_generator, count_weights
from cpca_jax.training import transfer

# Fields that make each network narrow, and sensitive everywhere, without changing its depth.
NARROW = {
    "cpca": {"features": 5, "final_activation": "none"},
    "cnn": {"features": (6, 4)},
    "red_cnn": {"features": 4, "final_activation": "none", "init_sd": 0.15},
    "gan3d": {"features": (3, 3, 4, 4, 5, 5)},
    "cascade": {"features": 4, "stages": 2},
    "wgan_vgg": {"features": 5, "final_activation": "none"},
    "map_nn": {"features": 4, "repetitions": 2, "final_activation": "none"},
}
NARROW_CRITICS = {
    "wgan_vgg": {"features": (3, 3, 4, 4, 5, 5), "dense": 6},
    "gan3d": {"features": (3, 4, 5), "dense": 6},
}


# Every network in 2D, with three slices, and with as many as it can have.
def form(name, slices):
    return pytest.param(name, slices, marks=[pytest.mark.slow] if slices > 3 else [])


FORMS = [
    form(name, slices)
    for name, kind in MODELS.items()
    for slices in kind.allowed_slices
    if slices in {1, 3, max(kind.allowed_slices)}
]
DEEP = [one for one in FORMS if one.values[1] > 1]


def network(name, slices, key, **fields):
    """Return a narrow network and its variables; the same call gives the same objects."""
    return _network(name, slices, _number(key), tuple(sorted(fields.items())))


def trained(variables, params):
    """Return the variables with other weights."""
    return {**variables, "params": params}


def critic(name, key, **fields):
    """Return a narrow critic, its weights and the shape of an example."""
    return _critic(name, _number(key), tuple(sorted(fields.items())))


def _number(key):
    return tuple(np.asarray(jax.random.key_data(key)).tolist())


# Compiling what draws the weights takes longer than most of what is tested with them.
@functools.cache
def _network(name, slices, number, fields):
    module = build_generator(name, slices=slices, **NARROW[name] | dict(fields))
    key = jax.random.wrap_key_data(jnp.asarray(number, jnp.uint32))
    return module, dict(jax.jit(module.init)(key, jnp.zeros((1, slices, 24, 24, 1))))


@functools.cache
def _critic(name, number, fields):
    module = build_critic(name, **NARROW_CRITICS[name] | dict(fields))
    shape = (16, 16, 1) if module.slices == 1 else (module.slices, 16, 16, 1)
    key = jax.random.wrap_key_data(jnp.asarray(number, jnp.uint32))
    return module, jax.jit(module.init)(key, jnp.zeros((1, *shape)))["params"], shape


def leaves_finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("name", "fields", "weights"),
    [
        ("cnn", {}, 24_513),
        ("red_cnn", {}, 1_848_865),
        ("wgan_vgg", {}, 55_872),
        ("wgan_vgg", {"use_bias": True}, 56_097),
        ("cascade", {}, 186_497),
        ("cascade", {"stages": 2}, 186_497 + 187_073),
        ("cascade", {"stages": 2, "see_original": False}, 2 * 186_497),
        ("gan3d", {"slices": 15, "use_norm": False}, 861_857),
        ("gan3d", {"slices": 15}, 861_857 + 2 * 448),
        ("map_nn", {}, 62_016),
        ("map_nn", {"repetitions": 1}, 62_016),
    ],
)
def test_weight_counts_are_the_published_ones(name, fields, weights, key):
    module = build_generator(name, **fields)
    slab = jnp.zeros((1, module.slices, 48, 48, 1))
    assert count_weights(jax.eval_shape(module.init, key, slab)["params"]) == weights


@pytest.mark.parametrize(("name", "slices"), FORMS)
def test_slab_contract(name, slices, key):
    """Size in plane stays, z loses slices - 1, and a slab gives what its windows give."""
    module, params = network(name, slices, key)
    apply = jax.jit(lambda x: module.apply(params, x))
    x = jax.random.uniform(key, (2, slices + 2, 24, 27, 1))
    slab = apply(x)
    assert slab.shape == (2, 3, 24, 27, 1)
    assert slab.dtype == jnp.float32
    assert float(slab.std()) > 1e-3
    windows = [apply(x[:, k : k + slices]) for k in range(3)]
    np.testing.assert_allclose(slab, jnp.concatenate(windows, axis=1), atol=1e-5)


@pytest.mark.parametrize(("name", "slices"), DEEP)
def test_every_3d_form_equals_its_2d_form_after_inflation(name, slices, key):
    flat, params = network(name, 1, key)
    deep, other = network(name, slices, jax.random.fold_in(key, 1))
    grown, report = transfer.inflate(params["params"], jax.eval_shape(lambda: other["params"]))
    assert len(report.inflated) == (slices - 1) // 2
    x = jax.random.uniform(key, (1, slices + 1, 24, 24, 1))
    half = slices // 2
    want = flat.apply(params, x[:, half:-half])
    np.testing.assert_allclose(deep.apply(trained(params, grown), x), want, atol=1e-5)
    assert np.abs(deep.apply(other, x) - want).max() > 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_pixels_beyond_the_receptive_field_do_not_matter(name, key):
    """A pixel matters up to the edge of the receptive field and not beyond it."""
    only_stage = {"stages": 1} if name == "cascade" else {}  # no gradient goes through two
    module, params = network(name, 1, key, **only_stage)
    half = module.receptive_field // 2
    edge = 2 * half + 13
    x = jax.random.uniform(key, (1, 1, edge, edge, 1))
    middle = half + 6

    def answer(x):
        return module.apply(params, x)[0, 0, middle, middle, 0]

    slope = np.abs(jax.jit(jax.grad(answer))(x)[0, 0, ..., 0])
    reach = np.argwhere(slope > 0) - middle
    assert np.abs(reach).max() == half


@pytest.mark.parametrize("name", MODELS)
def test_smallest_edge_works_and_one_less_does_not(name, key):
    module, params = network(name, 1, key)
    small = module.smallest_edge
    assert module.apply(params, jnp.ones((1, 1, small, small, 1))).shape[2] == small
    if name not in {"cascade", "cnn"}:  # padded with zeros: any size works
        with pytest.raises(Exception, match=r".+"):
            less = module.apply(params, jnp.ones((1, 1, small - 1, small - 1, 1)))
            assert less.shape[2] == small - 1
            assert 0 not in less.shape
            raise AssertionError("it works after all: smallest_edge is too large")


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_finite_and_reach_every_weight(name, key):
    module, params = network(name, 1, key)
    x = jax.random.uniform(key, (2, 1, 24, 24, 1))

    @jax.jit
    def slope(weights):
        def loss(weights):
            answer, _ = module.apply(trained(params, weights), x, mutable=[STATISTICS])
            return jnp.mean((answer - 0.3) ** 2)

        return jax.grad(loss)(weights)

    for leaf, gradient in trees.by_name(slope(params["params"])).items():
        assert np.isfinite(gradient).all(), leaf
        constant = leaf.startswith("stage1")
        # A bias before batch normalisation moves nothing.
        idle = name in {"cascade", "gan3d"} and leaf.endswith("/bias") and "conv" in leaf
        assert constant or idle or np.abs(gradient).max() > 0, leaf
        assert not constant or np.abs(gradient).max() == 0, leaf


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_stays_close_and_answers_in_float32(name, key):
    module, params = network(name, 1, key)
    x = jax.random.uniform(key, (1, 1, 32, 32, 1))
    exact = module.apply(params, x)
    half = module.clone(dtype="bfloat16").apply(params, x)
    assert half.dtype == jnp.float32
    assert 0 < np.abs(half - exact).max() < 0.05 * float(np.abs(exact).max())


@pytest.mark.parametrize("name", MODELS)
def test_seeds_can_be_mapped_over(name, key):
    module, _ = network(name, 1, key)
    x = jax.random.uniform(key, (1, 1, 24, 24, 1))

    def loss(params):
        answer = module.apply(params, x)
        return jnp.sum(answer**2), answer

    train = jax.grad(loss, has_aux=True)
    seeds = [network(name, 1, one)[1] for one in (key, jax.random.fold_in(key, 1))]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    many, answers = jax.jit(jax.vmap(train))(stacked)
    one, answer = jax.jit(train)(seeds[1])
    np.testing.assert_allclose(answers[1], answer, atol=1e-5)
    assert np.abs(answers[0] - answers[1]).max() > 1e-4
    for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(a[1], b, rtol=2e-3, atol=1e-3 * float(np.abs(b).max()) + 1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_shapes_come_without_computing(name, key):
    module, params = network(name, 1, key)
    x = jax.ShapeDtypeStruct((2, 3, 512, 512, 1), jnp.float32)
    out = jax.eval_shape(module.apply, params, x)
    assert out.shape == (2, 3, 512, 512, 1)


@pytest.mark.parametrize("name", ["cnn", "wgan_vgg", "gan3d"])
def test_paddings_agree_away_from_the_border(name, key):
    module, params = network(name, 1, key, padding="zeros")
    x = jax.random.uniform(key, (1, 1, 40, 40, 1))
    zeros = module.apply(params, x)
    mirrored = module.clone(padding="mirrored").apply(params, x)
    half = module.receptive_field // 2
    inner = (..., slice(half, -half), slice(half, -half), slice(None))
    np.testing.assert_allclose(zeros[inner], mirrored[inner], atol=1e-5)
    assert np.abs(zeros - mirrored).max() > 1e-3


@pytest.mark.parametrize("name", ["cnn", "red_cnn", "wgan_vgg", "cpca", "map_nn"])
def test_the_final_activation_is_a_choice(name, key):
    module, params = network(name, 1, key, final_activation="none")
    x = jax.random.normal(key, (1, 1, 24, 24, 1))
    without = module.apply(params, x)
    with_relu = module.clone(final_activation="relu").apply(params, x)
    assert (without < 0).any()
    assert (with_relu >= 0).all()
    if name != "map_nn":  # there each pass ends with it
        np.testing.assert_allclose(with_relu, np.maximum(without, 0), atol=1e-6)


def test_repetition_is_the_module_again_and_again(key):
    module, params = network("map_nn", 1, key)
    once, _ = network("map_nn", 1, key, repetitions=1)
    x = jax.random.uniform(key, (1, 1, 24, 24, 1))
    want = x
    for _ in range(3):
        want = once.apply(params, want)
    got = module.clone(repetitions=3).apply(params, x)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("name", CRITICS)
def test_critics_score_each_example_alone(name, key):
    module, params, shape = critic(name, key)
    examples = jax.random.uniform(key, (3, *shape))
    jacobian = jax.jit(jax.jacrev(lambda x: module.apply({"params": params}, x)))(examples)
    coupling = np.abs(jacobian).max(axis=tuple(range(2, jacobian.ndim)))
    assert (np.diag(coupling) > 0).all()
    np.testing.assert_array_equal(coupling - np.diag(np.diag(coupling)), 0.0)


@pytest.mark.parametrize("name", CRITICS)
def test_critics_are_finite_and_close_in_bfloat16(name, key):
    module, params, shape = critic(name, key)
    examples = jax.random.uniform(key, (4, *shape))
    scores = module.apply({"params": params}, examples)
    assert scores.shape == (4,)
    half = module.clone(dtype="bfloat16").apply({"params": params}, examples)
    assert half.dtype == scores.dtype == jnp.float32
    np.testing.assert_allclose(half, scores, atol=0.05 * float(np.abs(scores).max()))
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(module.apply({"params": p}, examples))))
    assert leaves_finite(gradient(params))
    shapes = jax.eval_shape(lambda p, x: module.apply({"params": p}, x), params, examples)
    assert shapes.shape == (4,)
    seeds = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.9 * leaf]), params)
    many = jax.jit(jax.vmap(lambda p: module.apply({"params": p}, examples)))(seeds)
    np.testing.assert_allclose(many[0], scores, atol=1e-5)
    assert np.abs(many[1] - scores).max() > 1e-5
