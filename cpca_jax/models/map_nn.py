"""MAP-NN: one small CPCA, applied repeatedly with the same weights.

Shan et al., "Competitive performance of a modularized deep neural network compared to commercial
algorithms for low-dose CT image reconstruction" (Nature Machine Intelligence 1, 2019), by the
deck's authors. Each pass through the module takes the image a step towards less noise, so that
a reader can choose the number of passes after training.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from cpca_jax.models.cpca import CPCA
from cpca_jax.types import Centres, Slabs
from cpca_jax.values import ONE_OR_MORE


class MAPNN(nn.Module):
    """CPCA with input shortcut, repeated with shared weights; see the module's docstring.

    Attributes:
        slices: 1; a pass keeps the number of slices.
        repetitions: the number of passes through the module; 5 in the paper. The weights do not
            depend on it.
        features: the number of maps of every layer of the module but the last.
        final_activation: the last activation of each pass; "relu" as released, or "none".
        use_bias: whether layers have biases; none in the released code.
        dtype: the dtype of the computation; parameters and answer are float32.
    """

    slices: int = 1
    repetitions: int = 5
    features: int = 32
    final_activation: str = "relu"
    use_bias: bool = False
    dtype: DTypeLike = jnp.float32

    allowed_slices = (1,)
    bounds: ClassVar = {"repetitions": ONE_OR_MORE}
    smallest_edge = 9

    @property
    def receptive_field(self) -> int:
        """The edge, in pixels, of the square that one pixel of the answer sees."""
        return 1 + 16 * self.repetitions

    @nn.compact
    def __call__(self, x: Slabs) -> Centres:
        """Denoise every slice of a slab: (batch, z, y, x, 1) to the same shape."""
        module = CPCA(
            features=self.features,
            final_activation=self.final_activation,
            shortcut=True,
            use_bias=self.use_bias,
            dtype=self.dtype,
            name="module",
        )
        for _ in range(self.repetitions):
            x = module(x)
        return x
