"""CNN-Cascade: a chain of residual networks, each trained on what the earlier ones leave behind.

Wu et al., "A cascaded convolutional neural network for X-ray low-dose CT image denoising" (arXiv
1705.04267) and its released code. A stage is a 3x3 convolution with ReLU, `depth` more with batch
normalisation and ReLU, and a last one to a single map: the noise, which is subtracted. From the
second stage on it sees two maps, the present estimate and the original low-dose slice.

Stages are trained one by one (`cpca_jax.training.cascade`): all but the last are constants.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from cpca_jax.layers import BatchNorm, Conv, as_answer, padded_conv2d
from cpca_jax.layers.conv3d import Features
from cpca_jax.types import Centres, Slabs
from cpca_jax.values import MOMENTUM, NOT_NEGATIVE, ONE_OR_MORE, SHARE


class Cascade(nn.Module):
    """Wu's cascade; see the module's docstring.

    Attributes:
        slices: 1; the published network is 2D.
        stages: the number of networks in the chain; the released script trains 4.
        hardest: from the second stage on, the share of all slices that are used in training:
            those on which the earlier stages err most; 0.05 in the released script.
        depth: the number of layers with batch normalisation in a stage; 5 in the released script.
        features: the number of maps of every layer but the last.
        see_original: whether stages from the second on also see the low-dose slice (the released
            default) or only the estimate (its other variant).
        momentum: the momentum of batch normalisation's running moments.
        dtype: the dtype of the computation; parameters and answer are float32.
    """

    slices: int = 1
    stages: int = 1
    hardest: float = 1.0
    depth: int = 5
    features: int = 64
    see_original: bool = True
    momentum: float = 0.99
    dtype: DTypeLike = jnp.float32

    allowed_slices = (1,)
    bounds: ClassVar = {
        "stages": ONE_OR_MORE,
        "hardest": SHARE,
        "depth": NOT_NEGATIVE,
        "momentum": MOMENTUM,
    }
    smallest_edge = 3

    @property
    def receptive_field(self) -> int:
        """The edge, in pixels, of the square that one pixel of the answer sees."""
        return 1 + 2 * (self.depth + 2) * self.stages

    @nn.compact
    def __call__(self, x: Slabs) -> Centres:
        """Denoise every slice of a slab: (batch, z, y, x, 1) to the same shape."""
        original = x.astype(self.dtype)
        estimate = original
        for number in range(1, self.stages + 1):
            seen = estimate
            if number > 1 and self.see_original:
                seen = jnp.concatenate([estimate, original], axis=-1)
            constant = number < self.stages
            estimate = estimate - self._stage(number, constant=constant)(seen)
            if constant:
                estimate = lax.stop_gradient(estimate)
        return as_answer(estimate)

    def _stage(self, number: int, *, constant: bool) -> "Stage":
        return Stage(
            depth=self.depth,
            features=self.features,
            momentum=self.momentum,
            constant=constant,
            dtype=self.dtype,
            name=f"stage{number}",
        )


class Stage(nn.Module):
    """One network of the cascade: it predicts the noise in maps (batch, z, y, x, 1 or 2)."""

    depth: int
    features: int
    momentum: float
    constant: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """Predict the noise that is subtracted."""
        y: Array = nn.relu(self._conv(1, self.features)(x))
        for number in range(2, self.depth + 2):
            y = self._conv(number, self.features)(y)
            norm = BatchNorm(
                momentum=self.momentum,
                frozen=self.constant,
                dtype=self.dtype,
                name=f"norm{number}",
            )
            y = nn.relu(norm(y))
        return self._conv(self.depth + 2, 1)(y)

    def _conv(self, number: int, features: int) -> Conv:
        return Conv(
            features=features,
            use_bias=True,
            dtype=self.dtype,
            operation=padded_conv2d,
            name=f"conv{number}",
        )
