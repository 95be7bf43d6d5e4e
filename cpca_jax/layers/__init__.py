"""Layers over slabs (batch, z, y, x, channel), shared by all denoisers; convolutions below.

Each layer owns its parameters under one name (`kernel`, `bias`) whether its kernel is 2D or 3D:
the names are the contract of the 2D to 3D transfer.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from cpca_jax.layers.conv2d import conv2d, deconv2d
from cpca_jax.layers.conv3d import Features, Operation, along_z, slicewise
from cpca_jax.types import Centres

# What a denoiser may end with, and how its plain convolutions treat the border of a slice.
FINAL_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": nn.relu, "none": lambda x: x}
PADDINGS = ("mirrored", "zeros")


# Collection of batch normalisation's running moments; mutable in training only.
STATISTICS = "batch_stats"

glorot = nn.initializers.glorot_uniform()


def normal(sd: float) -> Initializer:
    """Initialiser N(0, sd^2)."""
    return nn.initializers.normal(sd)


def padded_conv2d(x: Array, kernel: Array) -> Array:
    """Convolution that keeps the size: zeros around every layer's input."""
    y, x_ = kernel.shape[0] // 2, kernel.shape[1] // 2
    return conv2d(x, kernel, pads=((y, y), (x_, x_)))


def with_border(x: Features, padding: str, margin: int) -> tuple[Features, Operation]:
    """What a plain chain of convolutions starts from, and the convolution its layers use.

    "mirrored": the slab is mirrored once at its border by `margin` pixels and the layers are
    unpadded, so that the size comes out as it went in; `margin` pixels inside, the answer is that
    of the unpadded network. "zeros": every layer pads its own input with zeros.
    """
    if padding == "zeros":
        return x, padded_conv2d
    around = (margin, margin)
    return jnp.pad(x, ((0, 0), (0, 0), around, around, (0, 0)), mode="reflect"), conv2d


def kernel_size(edge: int, number: int, slices: int) -> tuple[int, ...]:
    """Kernel of layer `number` (from 1): the first (slices - 1) / 2 layers look at 3 slices.

    CPCA's rule for its encoder (released code), here for every denoiser.
    """
    return (3, edge, edge) if number <= (slices - 1) // 2 else (edge, edge)


def centre_slices(x: Features, outputs: int) -> Features:
    """The `outputs` slices in the middle of z."""
    start = (x.shape[1] - outputs) // 2
    return x[:, start : start + outputs]


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


class BatchNorm(nn.BatchNorm):
    """Batch normalisation per map, moments over batch, z, y and x (Ioffe and Szegedy 2015).

    Flax's own, told by the call whether it trains: where the collection of running moments is
    mutable, and in training only, the batch's own moments normalise and the running ones move.

    Attributes:
        momentum: what the running moments keep of themselves in a step.
        epsilon: added to the variance.
        frozen: use the running moments always, and leave them as they are.
        dtype: of the answer; moments are float32.
    """

    frozen: bool = False
    # The variance as the mean of squared deviations: the quicker E[x^2] - E[x]^2 cancels.
    use_fast_variance: bool = False

    def __call__(self, x: Features) -> Features:  # type: ignore[override]
        """Normalise each map."""
        moves = self.is_mutable_collection(STATISTICS) and not self.frozen
        normal: Features = super().__call__(x, use_running_average=not moves)
        return normal


def chain(
    x: Features,
    layers: Sequence[tuple[int, int]],
    between: Callable[[int, Array], Array],
    *,
    slices: int,
    padding: str,
    use_bias: bool,
    dtype: DTypeLike,
) -> Features:
    """Convolutions conv1, conv2, ... one after the other, inside a denoiser's own call.

    Args:
        x: the slab.
        layers: (edge of the kernel, maps) of each.
        between: (number, maps) -> maps, after every layer but the last.
        slices: of the denoiser; the first layers are 3 slices deep, see `kernel_size`.
        padding: a row of PADDINGS, see `with_border`.
        use_bias: whether each layer adds a bias.
        dtype: of the computation.

    Returns:
        The last layer's maps, as large in plane as the slab.
    """
    y, operation = with_border(x, padding, sum(edge // 2 for edge, _ in layers))
    for number, (edge, features) in enumerate(layers, start=1):
        if number > 1:
            y = between(number - 1, y)
        y = Conv(
            features=features,
            kernel_size=kernel_size(edge, number, slices),
            use_bias=use_bias,
            dtype=dtype,
            operation=operation,
            name=f"conv{number}",
        )(y)
    return y


def as_answer(x: Features) -> Centres:
    """The network's answer: float32 whatever the compute dtype."""
    return x.astype(jnp.float32)
