"""CPCA, the contracting-path convolutional autoencoder, for 1, 3, 5, 7 or 9 slices.

Shan et al., "Transfer Learning for Low-Dose CT Denoising" (the deck, 2017), and the code released
with its publication as CPCE (IEEE TMI 37(6), 2018). Four unpadded convolutions are followed by four
transposed ones; after each of the first three of these, the encoder map of the same size is
concatenated (contracting path) and a 1x1 convolution takes 64 maps back to 32.

Neighbouring slices enter through the encoder only: the first (slices - 1) / 2 convolutions are
3x3x3, unpadded in z; everything else is 2D on each remaining slice, and contracting paths take the
centre slices.
"""

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
)
from cpca_jax.types import Centres, Slabs


class CPCA(nn.Module):
    """The deck's generator; see the module's docstring.

    Attributes:
        slices: the number of neighbouring slices that it looks at: 1 (2D), 3, 5, 7 or 9.
        features: the number of maps of every layer but the last.
        final_activation: "relu" as in the deck (ReLU after every layer), or "none".
        shortcut: whether the input's centre slices are added before the last activation (the
            released code's second variant; the deck draws none).
        use_bias: whether layers have biases; none in the released code, and the deck is silent.
        dtype: the dtype of the computation; parameters and answer are float32.
    """

    slices: int = 1
    features: int = 32
    final_activation: str = "relu"
    shortcut: bool = False
    use_bias: bool = False
    dtype: DTypeLike = jnp.float32

    allowed_slices = (1, 3, 5, 7, 9)
    # The edge of the square that one pixel of the answer sees, and the smallest slice for which
    # the encoder's last map still has a pixel.
    receptive_field = 17
    smallest_edge = 9

    @nn.compact
    def __call__(self, x: Slabs) -> Centres:
        """Denoise the centres of a slab: (batch, z, y, x, 1) -> (batch, z - slices + 1, y, x, 1).

        Values are in network range. A slab thicker than `slices` gives every centre that it has,
        and each 3D layer is computed once per slice.
        """
        outputs = x.shape[1] - (self.slices - 1)
        paths = self._encode(x)
        y = paths.pop()
        for layer, path in zip((5, 6, 7), reversed(paths), strict=True):
            y = self._layer(Deconv, f"deconv{layer}")(y)
            y = nn.relu(jnp.concatenate([centre_slices(path, outputs), y], axis=-1))
            y = nn.relu(self._layer(Conv, f"merge{layer}", (1, 1))(y))
        y = self._layer(Deconv, "deconv8", features=1)(y)
        if self.shortcut:
            y = y + centre_slices(x, outputs).astype(self.dtype)
        return as_answer(FINAL_ACTIVATIONS[self.final_activation](y))

    def _encode(self, x: Slabs) -> list[Array]:
        """Return the four encoder maps; the first ones have more slices than the last."""
        maps: list[Array] = []
        for layer in (1, 2, 3, 4):
            size = kernel_size(3, layer, self.slices)
            previous = maps[-1] if maps else x
            maps.append(nn.relu(self._layer(Conv, f"conv{layer}", size)(previous)))
        return maps

    def _layer(
        self,
        kind: type[Conv],
        name: str,
        size: tuple[int, ...] = (3, 3),
        *,
        features: int | None = None,
    ) -> Conv:
        return kind(
            features=self.features if features is None else features,
            kernel_size=size,
            use_bias=self.use_bias,
            dtype=self.dtype,
            name=name,
        )
