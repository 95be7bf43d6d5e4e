"""The critic, which scores how much a single slice looks like full dose.

Six 3x3 convolutions of stride 1, 2, 1, 2, 1, 2 and two dense layers (released code of CPCE and
WGAN-VGG; Yang et al. 2018, Fig. 2). No sigmoid, and no layer that mixes the examples of a batch:
the gradient penalty is defined per example.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from cpca_jax.layers import glorot
from cpca_jax.layers.conv2d import conv2d, same_pads
from cpca_jax.types import Images, Scores
from cpca_jax.values import NOT_NEGATIVE

Maps = Float[Array, "batch _ _ _"]


class Critic(nn.Module):
    """Critic over (batch, y, x, 1) in network range, with one score per image.

    Its dense layer fixes the image size: a critic made for 64x64 scores 64x64 images only.

    Attributes:
        features: the numbers of maps of the convolutions; every second one has stride 2.
        dense: the number of units of the first dense layer.
        slope: the slope of the leaky ReLU.
        dtype: the dtype of the computation; parameters and scores are float32.
    """

    features: tuple[int, ...] = (64, 64, 128, 128, 256, 256)
    dense: int = 1024
    slope: float = 0.2
    dtype: DTypeLike = jnp.float32

    bounds: ClassVar = {"slope": NOT_NEGATIVE}
    # The number of neighbouring slices that it scores together.
    slices = 1

    @nn.compact
    def __call__(self, x: Images) -> Scores:
        """Score each image; higher is more like full dose."""
        for number, features in enumerate(self.features, start=1):
            stride = 1 if number % 2 else 2
            x = StridedConv(features, stride, self.dtype, name=f"conv{number}")(x)
            x = nn.leaky_relu(x, self.slope)
        return scored(x, dense=self.dense, slope=self.slope, dtype=self.dtype)


def scored(maps: Maps, *, dense: int, slope: float, dtype: DTypeLike) -> Scores:
    """Apply the end of a critic inside its own call: two dense layers to one float32 score each."""
    x = maps.reshape(maps.shape[0], -1)
    x = nn.Dense(dense, dtype=dtype, kernel_init=glorot, name="dense1")(x)
    x = nn.leaky_relu(x, slope)
    x = nn.Dense(1, dtype=dtype, kernel_init=glorot, name="dense2")(x)
    return x[:, 0].astype(jnp.float32)


class StridedConv(nn.Module):
    """3x3 convolution with 'same' padding and a bias."""

    features: int
    stride: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """Convolve (batch, y, x, channel)."""
        kernel = self.param("kernel", glorot, (3, 3, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        pads = same_pads((x.shape[1], x.shape[2]), (3, 3), self.stride)
        y = conv2d(x.astype(self.dtype), kernel.astype(self.dtype), stride=self.stride, pads=pads)
        return y + bias.astype(self.dtype)
