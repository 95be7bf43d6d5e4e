"""GAN-3D: a 3D generator that predicts the noise, and a discriminator of its own.

Wolterink et al., "Generative adversarial networks for noise reduction in low-dose CT" (IEEE TMI
36(12), 2017). The paper's figure shows seven 3D convolutions whose answer is subtracted from the
input, and a discriminator of nine convolutions in groups of three. The numbers of maps, the strides
and the slopes are those of the only public code found (DLDenoise), which is not the authors'.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from cpca_jax.layers import BatchNorm, Conv, as_answer, centre_slices, chain, padded_conv2d
from cpca_jax.models.critic import StridedConv, scored
from cpca_jax.types import Centres, Scores, Slabs
from cpca_jax.values import EACH_ONE_OR_MORE, MOMENTUM, NOT_NEGATIVE, Bound


class GAN3D(nn.Module):
    """Wolterink's generator; see the module's docstring.

    Attributes:
        slices: the number of neighbouring slices that it looks at: 15 as published (all seven
            layers 3x3x3); with fewer, the first (slices - 1) / 2 layers are 3 slices deep.
        features: the numbers of maps of the first six layers.
        slope: the slope of the leaky ReLU.
        padding: "mirrored" for unpadded layers on a slab with a mirrored border, or "zeros".
        use_norm: whether batch normalisation follows the first six layers.
        momentum: the momentum of its running moments.
        dtype: the dtype of the computation; parameters and answer are float32.
    """

    slices: int = 15
    features: tuple[int, ...] = (32, 32, 64, 64, 128, 128)
    slope: float = 0.01
    padding: str = "mirrored"
    use_norm: bool = True
    momentum: float = 0.99
    dtype: DTypeLike = jnp.float32

    allowed_slices = (1, 3, 5, 7, 9, 11, 13, 15)
    bounds: ClassVar = {
        "features": Bound(
            "six numbers, each 1 or more",
            lambda value: len(value) == 6 and EACH_ONE_OR_MORE.holds(value),
        ),
        "slope": NOT_NEGATIVE,
        "momentum": MOMENTUM,
    }
    receptive_field = 15
    smallest_edge = 8

    @nn.compact
    def __call__(self, x: Slabs) -> Centres:
        """Denoise a slab's centres: (batch, z, y, x, 1) -> (batch, z - slices + 1, y, x, 1)."""
        outputs = x.shape[1] - (self.slices - 1)
        noise = chain(
            x,
            [(3, features) for features in (*self.features, 1)],
            self._between,
            slices=self.slices,
            padding=self.padding,
            use_bias=True,
            dtype=self.dtype,
        )
        return as_answer(centre_slices(x, outputs).astype(self.dtype) - noise)

    def _between(self, number: int, y: Array) -> Array:
        """Apply what follows layer `number`: batch normalisation and the leaky ReLU."""
        if self.use_norm:
            y = BatchNorm(momentum=self.momentum, dtype=self.dtype, name=f"norm{number}")(y)
        return nn.leaky_relu(y, self.slope)


class GAN3DDiscriminator(nn.Module):
    """Wolterink's discriminator: one score per slab of five slices, higher for full dose.

    The first two convolutions are 3D and unpadded in z, which reduces five slices to one; seven 2D
    ones follow, every third of them with stride 2, and two dense layers. The score is the logit of
    the paper's two classes; the sigmoid is in the loss (`losses.ADVERSARIAL["cross_entropy"]`).

    Attributes:
        features: the numbers of maps of the three groups of three convolutions.
        dense: the number of units of the first dense layer.
        slope: the slope of the leaky ReLU.
        dtype: the dtype of the computation; parameters and scores are float32.
    """

    features: tuple[int, int, int] = (32, 64, 128)
    dense: int = 256
    slope: float = 0.01
    dtype: DTypeLike = jnp.float32

    bounds: ClassVar = {"slope": NOT_NEGATIVE}
    # The number of neighbouring slices that it scores together.
    slices = 5

    @nn.compact
    def __call__(self, x: Float[Array, "batch z y x 1"]) -> Scores:
        """Score each slab."""
        for number in (1, 2):
            x = Conv(
                features=self.features[0],
                kernel_size=(3, 3, 3),
                use_bias=True,
                dtype=self.dtype,
                operation=padded_conv2d,
                name=f"conv{number}",
            )(x)
            x = nn.leaky_relu(x, self.slope)
        maps = x[:, 0]
        widths = [w for w in self.features for _ in range(3)]
        for number in range(3, len(widths) + 1):
            stride = 2 if number % 3 == 0 else 1
            conv = StridedConv(widths[number - 1], stride, self.dtype, name=f"conv{number}")
            maps = nn.leaky_relu(conv(maps), self.slope)
        return scored(maps, dense=self.dense, slope=self.slope, dtype=self.dtype)
