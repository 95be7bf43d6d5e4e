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
from cpca_jax.types import Centres, Params

# The last activations of a denoiser, and the ways in which plain convolutions treat a border.
FINAL_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": nn.relu, "none": lambda x: x}
PADDINGS = ("mirrored", "zeros")


# The collection of batch normalisation's running moments; mutable only in training.
STATISTICS = "batch_stats"

glorot = nn.initializers.glorot_uniform()


def variables_of(params: Params, statistics: Params | None) -> dict[str, Params]:
    """Return parameters and running moments, if any, as the variables that Flax takes."""
    return {"params": params, STATISTICS: statistics} if statistics else {"params": params}


def normal(sd: float) -> Initializer:
    """Return an initialiser that draws from N(0, sd^2)."""
    return nn.initializers.normal(sd)


def padded_conv2d(x: Array, kernel: Array) -> Array:
    """Convolve and keep the size: the input is surrounded by zeros."""
    y, x_ = kernel.shape[0] // 2, kernel.shape[1] // 2
    return conv2d(x, kernel, pads=((y, y), (x_, x_)))


def with_border(x: Features, padding: str, margin: int) -> tuple[Features, Operation]:
    """Return the slab that a plain chain of convolutions starts from, and the operation it uses.

    "mirrored": the slab is mirrored once at its border by `margin` pixels and the layers are
    unpadded, so that the answer has the size of the slab; at least `margin` pixels inside, it is
    the answer of the unpadded network. "zeros": every layer pads its own input with zeros.
    """
    if padding == "zeros":
        return x, padded_conv2d
    around = (margin, margin)
    return jnp.pad(x, ((0, 0), (0, 0), around, around, (0, 0)), mode="reflect"), conv2d


def kernel_size(edge: int, number: int, slices: int) -> tuple[int, ...]:
    """Return the kernel size of layer `number` (from 1).

    The first (slices - 1) / 2 layers look at 3 slices: CPCA's rule for its encoder (released
    code), used here for every denoiser.
    """
    return (3, edge, edge) if number <= (slices - 1) // 2 else (edge, edge)


def centre_slices(x: Features, outputs: int) -> Features:
    """Return the `outputs` slices in the middle of z."""
    start = (x.shape[1] - outputs) // 2
    return x[:, start : start + outputs]


class Conv(nn.Module):
    """Unpadded convolution, 2D per slice or 3D, depending on the kernel's rank.

    Attributes:
        features: the number of maps that it makes.
        kernel_size: (ky, kx) or (kz, ky, kx).
        use_bias: whether it adds a bias per map.
        dtype: the dtype of the computation; parameters are float32.
        operation: `conv2d` or `deconv2d`.
        kernel_init: the initialiser of the kernel; Glorot uniform as in the released code.
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
    """Batch normalisation per map, with moments over batch, z, y and x (Ioffe and Szegedy 2015).

    This is Flax's own layer, which here finds out by itself whether it trains: where the
    collection of running moments is mutable, which is only so in training, the batch's own moments
    normalise and the running ones move.

    Attributes:
        momentum: the share of themselves that the running moments keep in a step.
        epsilon: the term added to the variance.
        frozen: whether to use the running moments always and leave them as they are.
        dtype: the dtype of the answer; moments are float32.
    """

    frozen: bool = False
    # The variance is the mean of squared deviations: the quicker E[x^2] - E[x]^2 loses digits.
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
    """Apply convolutions conv1, conv2, ... one after the other, inside a denoiser's own call.

    Args:
        x: the slab (batch, z, y, x, channel).
        layers: the edge of the kernel and the number of maps of each layer.
        between: a function (number, maps) -> maps, applied after every layer but the last.
        slices: the denoiser's `slices`; the first layers are 3 slices deep, see `kernel_size`.
        padding: a row of PADDINGS, see `with_border`.
        use_bias: whether each layer adds a bias.
        dtype: the dtype of the computation.

    Returns:
        The maps of the last layer, with as many rows and columns as the slab.
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
    """Return the network's answer in float32, whatever the dtype of the computation."""
    return x.astype(jnp.float32)
