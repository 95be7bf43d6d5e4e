"""CNN: three convolutions, of 9x9, 3x3 and 5x5 pixels, and nothing else.

Chen et al., "Low-dose CT via convolutional neural network" (Biomed. Opt. Express 8, 2017), the
first of the deck's comparison systems. The layers have 64, 32 and 1 maps, with ReLU between them
and no batch normalisation. Where the paper's own choice could not be found (last activation,
padding), the defaults are those of ldct-benchmark's CNN-10.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from cpca_jax.layers import FINAL_ACTIVATIONS, as_answer, chain
from cpca_jax.types import Centres, Slabs

EDGES = (9, 3, 5)


class CNN(nn.Module):
    """Chen's three-layer network; see the module's docstring.

    Attributes:
        slices: the number of neighbouring slices that it looks at: 1 as published; with 3, 5 or 7,
            the first (slices - 1) / 2 layers are 3 slices deep.
        features: the number of maps of the first two layers.
        final_activation: "none" (ldct-benchmark) or "relu" (DLDenoise).
        padding: "zeros" in every re-implementation; "mirrored" makes the layers unpadded.
        use_bias: whether layers have biases; they do in every re-implementation.
        dtype: the dtype of the computation; parameters and answer are float32.
    """

    slices: int = 1
    features: tuple[int, int] = (64, 32)
    final_activation: str = "none"
    padding: str = "zeros"
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32

    allowed_slices = (1, 3, 5, 7)
    receptive_field = 15
    smallest_edge = 8

    @nn.compact
    def __call__(self, x: Slabs) -> Centres:
        """Denoise a slab's centres: (batch, z, y, x, 1) -> (batch, z - slices + 1, y, x, 1)."""
        y = chain(
            x,
            list(zip(EDGES, (*self.features, 1), strict=True)),
            lambda number, y: nn.relu(y),
            slices=self.slices,
            padding=self.padding,
            use_bias=self.use_bias,
            dtype=self.dtype,
        )
        return as_answer(FINAL_ACTIVATIONS[self.final_activation](y))
