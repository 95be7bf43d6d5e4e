"""A user's generator: two convolutions that predict the noise, for one or several slices."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

import cpca_jax as cpca


class TwoLayers(nn.Module):
    """A network with the attributes that docs/networks.md requires, and its own `features`."""

    slices: int = 1
    features: int = 4
    dtype: DTypeLike = jnp.float32

    smallest_edge = 3

    @nn.compact
    def __call__(self, x):
        """Denoise (batch, z, y, x, 1) to (batch, z - slices + 1, y, x, 1)."""
        half, kernel = self.slices // 2, (self.slices, 3, 3)
        y = nn.Conv(self.features, kernel, padding=((0, 0), (1, 1), (1, 1)), dtype=self.dtype)(x)
        noise = nn.Conv(1, (1, 3, 3), dtype=self.dtype)(nn.relu(y))
        return x[:, half : x.shape[1] - half] - noise.astype(jnp.float32)


cpca.models.register("two_layers", TwoLayers)
