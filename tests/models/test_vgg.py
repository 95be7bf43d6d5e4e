import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cpca_jax.errors import ConfigError, WeightsError
from cpca_jax.models import vgg

NARROW = vgg.Architecture("vgg19-narrow", (2, 2, 4, 4, 4), (2, 4, 4, 8, 8))


@pytest.fixture(scope="module")
def params():
    return vgg.random_params(NARROW, seed=3)


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 35, 32, 3)), jnp.float32)


@pytest.mark.parametrize(
    ("name", "layers", "numbers"), [("vgg16", 13, 14_714_688), ("vgg19", 16, 20_024_384)]
)
def test_published_sizes(name, layers, numbers):
    shapes = [layer.shapes for layer in vgg.ARCHITECTURES[name].layers]
    assert len(shapes) == layers
    assert sum(np.prod(shape) for of_one in shapes for shape in of_one.values()) == numbers


def test_vgg19_layer_names():
    assert " ".join(layer.name for layer in vgg.ARCHITECTURES["vgg19"].layers) == (
        "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv3_3 conv3_4 "
        "conv4_1 conv4_2 conv4_3 conv4_4 conv5_1 conv5_2 conv5_3 conv5_4"
    )


@pytest.mark.parametrize(
    ("name", "tap", "shape"),
    [
        ("vgg19", "relu5_4", (4, 4, 512)),
        ("vgg19", "conv3_4", (16, 16, 256)),
        ("vgg16", "relu2_2", (32, 32, 128)),
        ("vgg16", "relu1_1", (64, 64, 64)),
    ],
)
def test_shapes_of_full_networks(name, tap, shape):
    architecture = vgg.ARCHITECTURES[name]
    arrays = {
        layer.name: {k: jax.ShapeDtypeStruct(s, jnp.float32) for k, s in layer.shapes.items()}
        for layer in architecture.layers
    }
    found = jax.eval_shape(
        lambda p, x: vgg.forward(p, x, architecture=architecture, tap=tap),
        arrays,
        jax.ShapeDtypeStruct((3, 64, 64, 3), jnp.float32),
    )
    assert found.shape == (3, *shape)


@pytest.mark.parametrize("number", ["1_1", "3_2", "5_4"])
def test_conv_tap_is_before_and_relu_tap_after_the_relu(params, images, number):
    before, after = (
        vgg.forward(params, images, architecture=NARROW, tap=kind + number)
        for kind in ("conv", "relu")
    )
    assert before.min() < 0
    np.testing.assert_array_equal(np.maximum(before, 0), after)


def test_computes_only_as_deep_as_the_tap(params, images):
    shallow = {name: layer for name, layer in params.items() if name < "conv2_2"}
    found = vgg.forward(shallow, images, architecture=NARROW, tap="relu2_1")
    expected = vgg.forward(params, images, architecture=NARROW, tap="relu2_1")
    np.testing.assert_array_equal(found, expected)


def test_pooling_takes_maxima_and_drops_the_odd_row():
    maps = jnp.arange(2 * 5 * 4 * 3, dtype=jnp.float32).reshape(2, 5, 4, 3)
    pooled = vgg._max_pool(maps)
    np.testing.assert_array_equal(pooled, np.asarray(maps)[:, 1:4:2, 1::2])


def test_pooling_has_the_gradient_of_a_window_maximum():
    maps = jnp.asarray(np.random.default_rng(1).normal(size=(2, 7, 6, 3)), jnp.float32)

    def by_window(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    found, expected = (
        jax.grad(lambda x, pool=pool: jnp.sum(jnp.sin(pool(x))))(maps)
        for pool in (vgg._max_pool, by_window)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_unknown_tap_names_the_allowed_ones():
    with pytest.raises(ConfigError, match=r"vgg16 has no tap 'relu5_4'.*conv1_1.*relu5_3"):
        vgg.ARCHITECTURES["vgg16"].check_tap("relu5_4")


@pytest.mark.parametrize(("tap", "smallest"), [("relu5_4", 16), ("conv2_1", 2)])
def test_too_small_images_are_refused(params, tap, smallest):
    def run(rows):
        inputs = jnp.zeros((1, rows, 40, 3))
        return vgg.forward(params, inputs, architecture=NARROW, tap=tap)

    assert run(smallest).shape[1] == 1
    with pytest.raises(ConfigError, match=f"at least {smallest}x{smallest}"):
        run(smallest - 1)


def test_checked_accepts_exactly_the_trunk(params):
    again = vgg.checked(vgg.flat(params), NARROW, "file")
    assert vgg.digest(vgg.flat(again)) == vgg.digest(vgg.flat(params))


def test_checked_names_all_faults_in_one_line(params):
    arrays = vgg.flat(params)
    del arrays["conv2_1/bias"]
    arrays["conv6_1/kernel"] = np.zeros(1)
    arrays["conv1_1/kernel"] = arrays["conv1_1/kernel"].transpose(3, 2, 0, 1)
    arrays["conv4_2/kernel"] = np.full_like(arrays["conv4_2/kernel"], np.nan)
    arrays["conv4_3/bias"] = np.full(8, "text")
    with pytest.raises(WeightsError) as caught:
        vgg.checked(arrays, NARROW, "weights.h5")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "weights.h5 does not hold the trunk of vgg19-narrow",
        "conv1_1/kernel is (2, 3, 3, 3), expected (3, 3, 3, 2)",
        "conv2_1/bias is missing",
        "conv4_2/kernel holds values that are not finite floats",
        "conv4_3/bias holds values that are not finite floats",
        "conv6_1/kernel is unexpected",
    ):
        assert part in message


def test_digest_depends_on_names_shapes_and_numbers(params):
    arrays = vgg.flat(params)
    reordered = dict(reversed(arrays.items()))
    assert vgg.digest(reordered) == vgg.digest(arrays)
    kernel = arrays["conv3_2/kernel"]
    for other in (kernel + 1e-3, kernel.reshape(3, 3, -1), kernel.swapaxes(0, 1)):
        assert vgg.digest(arrays | {"conv3_2/kernel": other}) != vgg.digest(arrays)


def test_random_weights_follow_the_seed_and_keep_the_scale(params):
    again, other = (vgg.random_params(NARROW, seed) for seed in (3, 4))
    assert vgg.digest(vgg.flat(again)) == vgg.digest(vgg.flat(params))
    assert vgg.digest(vgg.flat(other)) != vgg.digest(vgg.flat(params))
    wide = dataclasses.replace(NARROW, widths=(16, 32, 32, 64, 64))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 32, 32, 3)), jnp.float32)
    maps = vgg.forward(vgg.random_params(wide, 0), x, architecture=wide, tap="relu5_4")
    assert 0.1 < float(jnp.sqrt(jnp.mean(maps**2))) < 10
