"""The generator of WGAN-VGG: eight 3x3 convolutions.

Yang et al., "Low dose CT image denoising using a generative adversarial network with Wasserstein
distance and perceptual loss" (IEEE TMI 37(6), 2018), and its released code: 32 maps, ReLU after
every layer including the last one, no padding and no biases. Its critic is `critic.Critic`.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from cpca_jax.layers import FINAL_ACTIVATIONS, as_answer, chain
from cpca_jax.types import Centres, Slabs

LAYERS = 8


class WGANVGG(nn.Module):
    """Yang's generator; see the module's docstring.

    Attributes:
        slices: the number of neighbouring slices that it looks at: 1 as published; with more, the
            first (slices - 1) / 2 layers are 3 slices deep.
        features: the number of maps of every layer but the last.
        final_activation: "relu" (paper, released code) or "none" (ldct-benchmark).
        padding: "mirrored" for unpadded layers as in the released code, which maps 80x80 to 64x64,
            on a slab with a mirrored border that restores the size; "zeros" as in PyTorch versions.
        use_bias: whether layers have biases; none in the released code, but in PyTorch versions.
        dtype: the dtype of the computation; parameters and answer are float32.
    """

    slices: int = 1
    features: int = 32
    final_activation: str = "relu"
    padding: str = "mirrored"
    use_bias: bool = False
    dtype: DTypeLike = jnp.float32

    allowed_slices = (1, 3, 5, 7, 9)
    receptive_field = 17
    smallest_edge = 9

    @nn.compact
    def __call__(self, x: Slabs) -> Centres:
        """Denoise a slab's centres: (batch, z, y, x, 1) -> (batch, z - slices + 1, y, x, 1)."""
        y = chain(
            x,
            [*[(3, self.features)] * (LAYERS - 1), (3, 1)],
            lambda number, y: nn.relu(y),
            slices=self.slices,
            padding=self.padding,
            use_bias=self.use_bias,
            dtype=self.dtype,
        )
        return as_answer(FINAL_ACTIVATIONS[self.final_activation](y))
