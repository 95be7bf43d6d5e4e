"""Layers over slabs (batch, z, y, x, channel), shared by all denoisers.

Each layer owns its parameters under one name (`kernel`, `bias`) whether its kernel is 2D or 3D:
the names are the contract of the 2D to 3D transfer.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Float

from cpca_jax.models.convolution import conv2d, deconv2d
from cpca_jax.types import Centres

Features = Float[Array, "batch _ _ _ _"]
Operation = Callable[[Array, Array], Array]

glorot = nn.initializers.glorot_uniform()


def slicewise(operation: Operation, x: Features, kernel: Array) -> Features:
    """Apply a 2D operation to every slice: z is folded into the batch and unfolded again."""
    batch, depth = x.shape[:2]
    y = operation(x.reshape(batch * depth, *x.shape[2:]), kernel)
    return y.reshape(batch, depth, *y.shape[1:])


def along_z(operation: Operation, x: Features, kernel: Array) -> Features:
    """Apply a 3D kernel, unpadded in z, once per slice.

    The kz neighbours of each output slice are laid side by side as channels, so that one 2D
    operation with kz times the channels does the work. Each slab is read once however many
    windows overlap in it.
    """
    kz, *in_plane, cin, cout = kernel.shape
    outputs = x.shape[1] - kz + 1
    neighbours = jnp.concatenate([x[:, k : k + outputs] for k in range(kz)], axis=-1)
    flat_kernel = jnp.moveaxis(kernel, 0, -3).reshape(*in_plane, kz * cin, cout)
    return slicewise(operation, neighbours, flat_kernel)


def centre_slices(x: Features, outputs: int) -> Features:
    """The `outputs` slices in the middle of z."""
    start = (x.shape[1] - outputs) // 2
    return x[:, start : start + outputs]


def centre_crop(x: Features, size: tuple[int, int]) -> Features:
    """The middle (y, x) part of every slice."""
    top, left = (x.shape[2] - size[0]) // 2, (x.shape[3] - size[1]) // 2
    return x[:, :, top : top + size[0], left : left + size[1]]


class Conv(nn.Module):
    """Unpadded convolution, 2D per slice or 3D, by the kernel's rank.

    Attributes:
        features: maps it makes.
        kernel_size: (ky, kx) or (kz, ky, kx).
        use_bias: whether it adds a bias per map.
        dtype: of the computation; parameters are float32.
        operation: `conv2d` or `deconv2d`.
        kernel_init: initialiser of the kernel; Glorot uniform as in the released code.
    """

    features: int
    kernel_size: tuple[int, ...] = (3, 3)
    use_bias: bool = False
    dtype: DTypeLike = jnp.float32
    operation: Operation = conv2d
    kernel_init: Initializer = glorot

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """Convolve a slab; z shrinks by kz - 1."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        apply = slicewise if len(self.kernel_size) == 2 else along_z
        y = apply(self.operation, x.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype)
        return y


class Deconv(Conv):
    """Transposed convolution of stride 1, unpadded: in plane the slab grows by k - 1."""

    operation: Operation = deconv2d


def as_answer(x: Features) -> Centres:
    """The network's answer: float32 whatever the compute dtype."""
    return x.astype(jnp.float32)
