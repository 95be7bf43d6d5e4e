import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from cpca_jax.errors import ConfigError
from cpca_jax.models import vgg
from cpca_jax.objectives import perceptual
from cpca_jax.objectives.perceptual import FeatureSpec, features, perceptual_distance
from cpca_jax.weights import feature_network

NARROW = vgg.Architecture("vgg19-narrow", (2, 2, 4, 4, 4), (2, 4, 4, 8, 8))
SPEC = FeatureSpec(NARROW, "relu3_4", "torchvision-rgb")


@pytest.fixture(scope="module")
def params():
    return vgg.random_params(NARROW, seed=5)


@pytest.fixture(scope="module")
def slabs():
    shape = (2, 2, 3, 24, 20, 1)
    return jnp.asarray(np.random.default_rng(2).random(shape), jnp.float32)


@pytest.mark.parametrize("convention", perceptual.CONVENTIONS)
def test_features_prepare_grey_images_as_the_convention_says(params, convention):
    images = np.random.default_rng(0).random((2, 9, 8, 1)).astype(np.float32)
    rgb = np.repeat(images, 3, axis=-1)
    prepared = {
        "caffe-bgr": (rgb * 255 - np.float32([123.68, 116.779, 103.939]))[..., ::-1],
        "torchvision-rgb": (rgb - np.float32([0.485, 0.456, 0.406]))
        / np.float32([0.229, 0.224, 0.225]),
    }
    spec = FeatureSpec(NARROW, "conv1_2", convention)
    expected = vgg.forward(
        params, jnp.asarray(prepared[convention]), architecture=NARROW, tap="conv1_2"
    )
    found = features(params, jnp.asarray(images), spec=spec)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_distance_is_per_slab_over_features_and_slices(params, slabs, norm, reduction):
    prediction, target = slabs
    found = perceptual_distance(
        params, prediction, target, spec=SPEC, reduction=reduction, norm=norm
    )
    expected = []
    for slab, reference in zip(prediction, target, strict=True):
        difference = np.asarray(features(params, slab, spec=SPEC), np.float64)
        difference -= np.asarray(features(params, reference, spec=SPEC))
        powers = difference**2 if norm == "l2" else np.abs(difference)
        per_slice = getattr(powers, reduction)(axis=(1, 2, 3))
        expected.append(per_slice.mean())
    assert found.shape == (2,)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_defaults_are_those_of_the_released_cpce_code(params, slabs):
    prediction, target = slabs
    explicit = perceptual_distance(
        params, prediction, target, spec=SPEC, reduction="mean", norm="l2"
    )
    np.testing.assert_array_equal(
        explicit, perceptual_distance(params, prediction, target, spec=SPEC)
    )


def test_distance_of_a_slab_to_itself_is_zero(params, slabs):
    found = perceptual_distance(params, slabs[0], slabs[0], spec=SPEC)
    np.testing.assert_array_equal(found, np.zeros(2))


def test_gradient_reaches_the_prediction_and_not_the_target(params, slabs):
    def total(prediction, target):
        return perceptual_distance(params, prediction, target, spec=SPEC).sum()

    to_prediction, to_target = jax.grad(total, argnums=(0, 1))(*slabs)
    assert np.abs(to_prediction).max() > 0
    np.testing.assert_array_equal(to_target, np.zeros_like(to_target))


def test_gradient_is_the_slope_of_the_distance(params, slabs):
    prediction, target = slabs
    direction = target - prediction

    def along(step):
        moved = prediction + step * direction
        return perceptual_distance(params, moved, target, spec=SPEC).sum()

    slope = (along(2e-3) - along(-2e-3)) / 4e-3
    np.testing.assert_allclose(jax.grad(along)(0.0), slope, rtol=2e-2)


def test_works_under_jit_with_the_spec_static_and_the_params_an_argument(params, slabs):
    @functools.partial(jax.jit, static_argnames="spec")
    def compiled(params, prediction, target, *, spec):
        return perceptual_distance(params, prediction, target, spec=spec)

    expected = perceptual_distance(params, *slabs, spec=SPEC)
    np.testing.assert_allclose(compiled(params, *slabs, spec=SPEC), expected, rtol=1e-5)


def test_bfloat16_answers_in_float32_and_nearly_the_same(params, slabs):
    full = perceptual_distance(params, *slabs, spec=SPEC)
    half = perceptual_distance(params, *slabs, spec=SPEC, dtype=jnp.bfloat16)
    assert features(params, slabs[0, 0], spec=SPEC, dtype=jnp.bfloat16).dtype == jnp.bfloat16
    assert half.dtype == jnp.float32
    assert np.any(half != full)
    np.testing.assert_allclose(half, full, rtol=0.05)


@pytest.mark.parametrize("key", ["reduction", "norm"])
def test_unknown_names_are_refused(params, slabs, key):
    with pytest.raises(ConfigError, match=rf"perceptual {key}: 'median' is not one of "):
        perceptual_distance(params, *slabs, spec=SPEC, **{key: "median"})


def test_unknown_tap_or_convention_is_refused():
    with pytest.raises(ConfigError, match="no tap 'relu9_1'"):
        FeatureSpec(NARROW, "relu9_1", "caffe-bgr")
    with pytest.raises(ConfigError, match="convention: 'bgr' is not one of caffe-bgr, "):
        FeatureSpec(NARROW, "relu5_4", "bgr")


def _structured_image() -> np.ndarray:
    """Return ellipses, bars and fine dots of several contrasts, 128x128 in [0, 1]."""
    y, x = np.mgrid[:128, :128]
    image = np.where(((y - 64) / 56) ** 2 + ((x - 64) / 48) ** 2 < 1, 0.55, 0.05)
    for row, column, radius, step in ((45, 45, 14, 0.2), (80, 70, 18, -0.15), (50, 85, 8, 0.3)):
        image += step * ((y - row) ** 2 + (x - column) ** 2 < radius**2)
    image += 0.2 * ((x % 8 < 3) & (np.abs(y - 100) < 8) & (np.abs(x - 64) < 30))
    image += 0.25 * ((y % 9 == 0) & (x % 9 == 0) & (np.abs(x - 64) < 28))
    return np.clip(ndimage.gaussian_filter(image, 0.6), 0, 1)


@pytest.mark.parametrize("tap", ["relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"])
def test_vgg16_sees_structure_rather_than_brightness(tap, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "cache"
    network = feature_network.load_feature_network("vgg16", tap=tap, cache=cache)
    sharp = _structured_image()
    noise = np.random.default_rng(0).normal(size=sharp.shape)
    blurred, more_blurred, most_blurred = (
        ndimage.gaussian_filter(sharp, sd) for sd in (1.0, 2.0, 5.0)
    )
    rmse = np.sqrt(np.mean((more_blurred - sharp) ** 2))
    # 20 HU are 1/30 of the window of 600 HU.
    images = [blurred, more_blurred, most_blurred, sharp + rmse, sharp + noise / 30]
    images.append(sharp + noise / 15)
    stack = jnp.asarray(np.stack(images), jnp.float32)[:, None, ..., None]
    target = jnp.broadcast_to(jnp.asarray(sharp, jnp.float32)[..., None], stack.shape)
    blur, more_blur, most_blur, brighter, noisy, noisier = perceptual_distance(
        network.params, stack, target, spec=network.spec
    )
    # As large an error for the eye of the mean square, but no structure is lost.
    assert brighter < more_blur / 10
    assert 0 < blur < more_blur < most_blur
    assert noisy < noisier
