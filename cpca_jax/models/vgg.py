"""VGG16 and VGG19 trunks (Simonyan and Zisserman, arXiv 1409.1556, table 1, rows D and E).

The trunk is a pure function over a tree of arrays rather than a Linen module: the weights are
never initialised or trained here. They come from a file under the paper's layer names, so that a
module's scopes, initialisers and variable collections would serve no purpose. The tree is

    {"conv1_1": {"kernel": float32[3, 3, 3, 64], "bias": float32[64]}, "conv1_2": ...}

and must be an argument of the jitted function that uses it. A tree captured by closure is
folded into the program as constants, which costs minutes of compiling.
"""

import dataclasses
import hashlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from cpca_jax.errors import ConfigError, WeightsError
from cpca_jax.layers.conv2d import correlate
from cpca_jax.types import Params

# Arrays by layer and by "kernel" or "bias".
TrunkParams = dict[str, dict[str, np.ndarray]]

_KERNEL_SIZE = 3
_INPUT_CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class Layer:
    """One 3x3 convolution of a trunk.

    Attributes:
        name: The name that the paper and Caffe use, such as "conv3_4".
        block: The number of the block, from 1; `block - 1` poolings lie before it.
        channels_in: The number of maps it reads.
        channels_out: The number of maps it writes.
    """

    name: str
    block: int
    channels_in: int
    channels_out: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its arrays, kernels as (ky, kx, channels in, channels out)."""
        kernel = (_KERNEL_SIZE, _KERNEL_SIZE, self.channels_in, self.channels_out)
        return {"kernel": kernel, "bias": (self.channels_out,)}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A VGG trunk: blocks of 3x3 convolutions with a 2x2 max pooling between blocks.

    Attributes:
        name: The name in log lines and tables; it must not promise another network.
        convolutions: The number of convolutions in each block.
        widths: The number of maps of each block; fewer than VGG's own make a network for tests.
    """

    name: str
    convolutions: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All convolutions in order."""
        found: list[Layer] = []
        channels = _INPUT_CHANNELS
        for block, (count, width) in enumerate(
            zip(self.convolutions, self.widths, strict=True), start=1
        ):
            for index in range(1, count + 1):
                found.append(Layer(f"conv{block}_{index}", block, channels, width))
                channels = width
        return tuple(found)

    @property
    def taps(self) -> tuple[str, ...]:
        """The points where features can be taken: "conv5_4" before the ReLU, "relu5_4" after it."""
        names = [layer.name for layer in self.layers]
        return tuple(names + [_relu_name(name) for name in names])

    def check_tap(self, tap: str) -> None:
        """Refuse a tap that this trunk does not have.

        Raises:
            ConfigError: The tap is unknown; the message lists the allowed ones.
        """
        if tap not in self.taps:
            allowed = ", ".join(self.taps)
            raise ConfigError(f"{self.name} has no tap {tap!r}; allowed: {allowed}")


ARCHITECTURES: dict[str, Architecture] = {
    "vgg16": Architecture("vgg16", convolutions=(2, 2, 3, 3, 3)),
    "vgg19": Architecture("vgg19", convolutions=(2, 2, 4, 4, 4)),
}


def checked(
    arrays: Mapping[str, np.ndarray], architecture: Architecture, file_name: str
) -> TrunkParams:
    """Return the tree of a trunk, float32, if the named arrays are exactly those of the trunk.

    Args:
        arrays: The arrays by "conv1_1/kernel" and "conv1_1/bias"; kernels are (ky, kx, maps in,
            maps out).
        architecture: The trunk that they must fit.
        file_name: The base name of the file, for the message.

    Raises:
        WeightsError: Arrays are missing, left over, of a wrong shape or not finite; the
            message names all of them.
    """
    expected = {
        f"{layer.name}/{leaf}": shape
        for layer in architecture.layers
        for leaf, shape in layer.shapes.items()
    }
    faults = [f"{name} is missing" for name in expected if name not in arrays]
    faults += [f"{name} is unexpected" for name in arrays if name not in expected]
    for name in expected.keys() & arrays.keys():
        if arrays[name].shape != expected[name]:
            faults.append(f"{name} is {arrays[name].shape}, expected {expected[name]}")
        elif arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all():
            faults.append(f"{name} holds values that are not finite floats")
    if faults:
        raise WeightsError(
            f"{file_name} does not hold the trunk of {architecture.name}: "
            f"{'; '.join(sorted(faults))} (kernels as ky, kx, in, out); give another file"
        )
    params: TrunkParams = {layer.name: {} for layer in architecture.layers}
    for name in expected:
        layer_name, leaf = name.split("/")
        params[layer_name][leaf] = np.ascontiguousarray(arrays[name], np.float32)
    return params


def flat(params: TrunkParams) -> dict[str, np.ndarray]:
    """Return the arrays by "conv1_1/kernel" and "conv1_1/bias"."""
    return {f"{name}/{leaf}": a for name, layer in params.items() for leaf, a in layer.items()}


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 over sorted names, shapes and little-endian float32 numbers of arrays.

    Args:
        arrays: The arrays by name, as `flat` returns them.
    """
    summed = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        summed.update(f"{name} {array.shape}\n".encode())
        summed.update(np.ascontiguousarray(array, "<f4").data)
    return summed.hexdigest()


def random_params(architecture: Architecture, seed: int) -> TrunkParams:
    """Draw weights from `seed`, He-scaled so that the maps of no layer vanish or explode."""
    generator = np.random.default_rng(seed)
    params: TrunkParams = {}
    for layer in architecture.layers:
        shape = layer.shapes["kernel"]
        sd = np.sqrt(2.0 / np.prod(shape[:3])).astype(np.float32)
        params[layer.name] = {
            "kernel": sd * generator.standard_normal(shape, dtype=np.float32),
            "bias": np.zeros(layer.channels_out, np.float32),
        }
    return params


def forward(
    params: Params,
    inputs: Float[Array, "batch y x 3"],
    *,
    architecture: Architecture,
    tap: str,
) -> Float[Array, "batch fy fx c"]:
    """Return the features of a VGG trunk at one tap; nothing behind the tap is computed.

    Convolutions are cross-correlations with zero padding 1; poolings take 2x2 maxima and
    drop an odd last row or column. On even sizes this equals Caffe's and torchvision's VGG.

    Args:
        params: The arrays by layer name, see the module; an argument of the jitted caller.
        inputs: The images, prepared in the convention of the weights, see `perceptual`.
        architecture: The trunk that `params` belong to.
        tap: One of `architecture.taps`.

    Returns:
        Maps of y // 2**n rows and x // 2**n columns after n poolings, in the dtype of `inputs`:
        4x4x512 for 64x64 images at VGG19's relu5_4, the CPCE code's choice.

    Raises:
        ConfigError: The tap is unknown, or the images are too small for its poolings.
    """
    architecture.check_tap(tap)
    _check_size(inputs.shape[1], inputs.shape[2], architecture, tap)
    maps = inputs
    block = 1
    for layer in architecture.layers:
        if layer.block > block:
            maps = _max_pool(maps)
            block = layer.block
        maps = _convolve(maps, params[layer.name])
        if layer.name == tap:
            return maps
        maps = jax.nn.relu(maps)
        if _relu_name(layer.name) == tap:
            return maps
    raise AssertionError("check_tap has let an unknown tap pass")


def _relu_name(convolution: str) -> str:
    return "relu" + convolution.removeprefix("conv")


def _check_size(rows: int, columns: int, architecture: Architecture, tap: str) -> None:
    by_name = {layer.name: layer for layer in architecture.layers}
    poolings = by_name["conv" + tap[len("conv") :]].block - 1
    smallest = 2**poolings
    if min(rows, columns) < smallest:
        raise ConfigError(
            f"images of {rows}x{columns} are too small for {architecture.name} {tap}: "
            f"{poolings} poolings need at least {smallest}x{smallest}"
        )


def _convolve(maps: Array, layer: Mapping[str, ArrayLike]) -> Array:
    kernel, bias = (jnp.asarray(layer[leaf], maps.dtype) for leaf in ("kernel", "bias"))
    return correlate(maps, kernel, pads=((1, 1), (1, 1))) + bias


def _max_pool(maps: Array) -> Array:
    # Maxima of shifted slices give the values of reduce_window, but their gradient needs no
    # select-and-scatter, which takes a fifth of the whole VGG19 gradient on a CPU.
    rows, columns = maps.shape[1] // 2 * 2, maps.shape[2] // 2 * 2
    of_rows = jnp.maximum(maps[:, 0:rows:2], maps[:, 1:rows:2])
    return jnp.maximum(of_rows[:, :, 0:columns:2], of_rows[:, :, 1:columns:2])
