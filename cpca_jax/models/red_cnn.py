"""RED-CNN, the residual encoder-decoder: five convolutions, five transposed ones, three shortcuts.

Chen et al., "Low-dose CT with a residual encoder-decoder convolutional neural network" (IEEE TMI
36(12), 2017) and its authors' prototxt. All layers are 5x5 and unpadded, with 96 maps. The sums of
deconv1 and conv4, of deconv3 and conv2, and of deconv5 and the input go through the ReLU.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from cpca_jax.layers import (
    FINAL_ACTIVATIONS,
    Conv,
    Deconv,
    as_answer,
    centre_slices,
    kernel_size,
    normal,
)
from cpca_jax.types import Centres, Slabs
from cpca_jax.values import POSITIVE

LAYERS = 5


class REDCNN(nn.Module):
    """Chen's residual encoder-decoder; see the module's docstring.

    Attributes:
        slices: the number of neighbouring slices that it looks at: 1 as published; with more, the
            first (slices - 1) / 2 convolutions are 3 slices deep and shortcuts take centre slices.
        features: the number of maps of every layer but the last.
        final_activation: "relu" (paper) or "none" (ldct-benchmark, whose data have mean zero).
        use_bias: whether layers have biases (the framework's default in the authors' prototxt).
        init_sd: the standard deviation of the kernels at the start, N(0, init_sd^2); 0.01 in the
            paper.
        dtype: the dtype of the computation; parameters and answer are float32.
    """

    slices: int = 1
    features: int = 96
    final_activation: str = "relu"
    use_bias: bool = True
    init_sd: float = 0.01
    dtype: DTypeLike = jnp.float32

    allowed_slices = (1, 3, 5, 7, 9, 11)
    bounds: ClassVar = {"init_sd": POSITIVE}
    receptive_field = 41
    smallest_edge = 21

    @nn.compact
    def __call__(self, x: Slabs) -> Centres:
        """Denoise a slab's centres: (batch, z, y, x, 1) -> (batch, z - slices + 1, y, x, 1)."""
        outputs = x.shape[1] - (self.slices - 1)
        maps: list[Array] = [x]
        for number in range(1, LAYERS + 1):
            size = kernel_size(5, number, self.slices)
            maps.append(nn.relu(self._layer(Conv, f"conv{number}", size, self.features)(maps[-1])))
        shortcuts = {1: maps[4], 3: maps[2], 5: x}
        y = maps[-1]
        for number in range(1, LAYERS + 1):
            features = self.features if number < LAYERS else 1
            y = self._layer(Deconv, f"deconv{number}", (5, 5), features)(y)
            if number in shortcuts:
                y = y + centre_slices(shortcuts[number], outputs).astype(self.dtype)
            if number < LAYERS:
                y = nn.relu(y)
        return as_answer(FINAL_ACTIVATIONS[self.final_activation](y))

    def _layer(self, kind: type[Conv], name: str, size: tuple[int, ...], features: int) -> Conv:
        return kind(
            features=features,
            kernel_size=size,
            use_bias=self.use_bias,
            dtype=self.dtype,
            kernel_init=normal(self.init_sd),
            name=name,
        )
