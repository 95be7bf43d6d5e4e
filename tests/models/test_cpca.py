"""CPCA: the paper's weight counts, an independent oracle, and the slab contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import convolve, correlate

from cpca_jax.errors import ConfigError
from cpca_jax.models import build_generator

WEIGHTS = {1: 62_016, 3: 62_592, 5: 81_024, 7: 99_456, 9: 117_888}
DEPTHS = sorted(WEIGHTS)


def network(slices, key, **fields):
    module = build_generator("cpca", slices=slices, **fields)
    return module, module.init(key, jnp.zeros((1, slices, 20, 20, 1)))["params"]


def small(slices, key):
    """Return a narrow CPCA without the last ReLU, as deep as the real one but never flat."""
    return network(slices, key, features=6, final_activation="none")


@pytest.mark.parametrize("slices", DEPTHS)
def test_weight_count_is_the_papers(slices, key):
    _, params = network(slices, key)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == WEIGHTS[slices]


def direct(params, x):
    """Return CPCA's middle slice of one window (slices, y, x), by channels with SciPy."""

    def relu(a):
        return np.maximum(a, 0)

    def layer(maps, kernel, *, transposed=False):
        kernel = np.asarray(kernel, np.float64)
        outputs = []
        for o in range(kernel.shape[-1]):
            total = 0.0
            for i, m in enumerate(maps):
                w = kernel[..., i, o]
                w = w if w.ndim == 3 else w[None]
                total += convolve(m, w, "full") if transposed else correlate(m, w, "valid")
            outputs.append(total)
        return outputs

    maps, paths = [np.asarray(x, np.float64)], []
    for n in (1, 2, 3, 4):
        maps = [relu(m) for m in layer(maps, params[f"conv{n}"]["kernel"])]
        paths.append(maps)
    for n in (5, 6, 7):
        maps = layer(maps, params[f"deconv{n}"]["kernel"], transposed=True)
        skip = [m[len(m) // 2][None] for m in paths[7 - n]]
        maps = [relu(m) for m in skip + maps]
        maps = [relu(m) for m in layer(maps, params[f"merge{n}"]["kernel"])]
    return layer(maps, params["deconv8"]["kernel"], transposed=True)[0][0]


@pytest.mark.parametrize("slices", DEPTHS)
def test_one_window_equals_a_direct_computation(slices, key):
    module, params = small(slices, key)
    x = jax.random.normal(key, (1, slices, 18, 21, 1))
    got = module.apply({"params": params}, x)
    assert got.shape == (1, 1, 18, 21, 1)
    np.testing.assert_allclose(got[0, 0, ..., 0], direct(params, x[0, ..., 0]), atol=1e-5)


@pytest.mark.parametrize("slices", DEPTHS)
def test_slab_equals_windows(slices, key):
    """A thick slab gives what separate windows give, to 1e-5."""
    module, params = network(slices, key, final_activation="none")
    x = jax.random.uniform(key, (2, slices + 4, 24, 19, 1))
    slab = module.apply({"params": params}, x)
    assert slab.shape == (2, 5, 24, 19, 1)
    windows = [module.apply({"params": params}, x[:, k : k + slices]) for k in range(5)]
    np.testing.assert_allclose(slab, jnp.concatenate(windows, axis=1), atol=1e-5)


def test_tiles_that_overlap_by_the_receptive_field_equal_the_whole(key):
    module, params = network(3, key, final_activation="none")
    x = jax.random.uniform(key, (1, 3, 60, 60, 1))
    whole = module.apply({"params": params}, x)
    tile = module.apply({"params": params}, x[:, :, 10:50, 5:45])
    border = module.receptive_field // 2
    inner = slice(border, 40 - border)
    np.testing.assert_allclose(
        tile[:, :, inner, inner],
        whole[:, :, 10 + border : 50 - border, 5 + border : 45 - border],
        atol=1e-5,
    )


def test_the_shortcut_adds_the_centre_slice(key):
    module, params = small(5, key)
    x = jax.random.uniform(key, (1, 7, 20, 20, 1))
    plain = module.apply({"params": params}, x)
    added = module.clone(shortcut=True).apply({"params": params}, x)
    np.testing.assert_allclose(added - plain, x[:, 2:5], atol=1e-6)


def test_the_last_relu_is_on_by_default(key):
    module, params = network(1, key)
    x = jax.random.normal(key, (1, 1, 20, 20, 1))
    without = module.clone(final_activation="none").apply({"params": params}, x)
    assert (without < 0).any()
    np.testing.assert_array_equal(module.apply({"params": params}, x), jnp.maximum(without, 0))


def test_bfloat16_stays_close_and_answers_in_float32(key):
    module, params = network(3, key)
    x = jax.random.uniform(key, (1, 3, 32, 32, 1))
    full = module.apply({"params": params}, x)
    half = module.clone(dtype="bfloat16").apply({"params": params}, x)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, full, atol=0.02 * float(full.max()))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"slices": 2}, "slices: 2 is not one of (1, 3, 5, 7, 9)"),
        ({"final_activation": "tanh"}, "'tanh' is not one of ('relu', 'none')"),
        ({"widths": 3}, "cpca has no such field"),
    ],
)
def test_impossible_fields_are_refused_by_name(fields, said):
    with pytest.raises(ConfigError) as error:
        build_generator("cpca", **fields)
    assert said in str(error.value)


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'cpce' is not one of .*cpca"):
        build_generator("cpce")
