"""CPCA, the critic and the trunk of VGG in PyTorch, as functions of their weights.

The weights are the package's in PyTorch's layout: maps before rows and columns, kernels as
(out, in, [kz,] ky, kx).
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peers.interface import Arrays
from cpca_jax.models.vgg import Architecture
from cpca_jax.objectives.perceptual import CONVENTIONS, FeatureSpec

Weights = Mapping[str, Tensor]

# The slope of the critic's leaky ReLU.
_SLOPE = 0.2


def as_torch(leaves: Arrays) -> dict[str, np.ndarray]:
    """Return leaves by name, such as "conv1/kernel", in PyTorch's layout."""
    return {name: np.ascontiguousarray(_leaf(name, leaf, leaves)) for name, leaf in leaves.items()}


def _leaf(name: str, leaf: np.ndarray, leaves: Arrays) -> np.ndarray:
    if leaf.ndim == 1:
        return leaf
    if leaf.ndim == 2:
        return _dense(name, leaf, leaves).T
    first_two = (-2, -1) if name.startswith("deconv") else (-1, -2)
    return leaf.transpose(*(axis % leaf.ndim for axis in first_two), *range(leaf.ndim - 2))


def _dense(name: str, kernel: np.ndarray, leaves: Arrays) -> np.ndarray:
    """Return a dense kernel; the first one is reordered to read maps flattened as (maps, y, x)."""
    if name != "dense1/kernel":
        return kernel
    maps = [leaf.size for key, leaf in leaves.items() if key.startswith("conv") and leaf.ndim == 1]
    edge = round((kernel.shape[0] / maps[-1]) ** 0.5)
    pixels_first = kernel.reshape(edge, edge, maps[-1], -1)
    return pixels_first.transpose(2, 0, 1, 3).reshape(kernel.shape)


def cpca(weights: Weights, slabs: Tensor) -> Tensor:
    """Denoise slabs (batch, 1, z, y, x); return their centres (batch * centres, 1, y, x)."""
    depth = sum(weights[f"conv{layer}/kernel"].ndim == 5 for layer in (1, 2, 3, 4))
    outputs = slabs.shape[2] - 2 * depth
    paths: list[Tensor] = []
    y = slabs
    for layer in (1, 2, 3, 4):
        kernel = weights[f"conv{layer}/kernel"]
        y = F.relu(F.conv3d(y, kernel) if kernel.ndim == 5 else F.conv2d(folded(y), kernel))
        paths.append(y)
    y = folded(paths.pop())
    for layer in (5, 6, 7):
        y = F.conv_transpose2d(y, weights[f"deconv{layer}/kernel"])
        y = F.relu(torch.cat([_centres(paths.pop(), outputs), y], dim=1))
        y = F.relu(F.conv2d(y, weights[f"merge{layer}/kernel"]))
    return F.relu(F.conv_transpose2d(y, weights["deconv8/kernel"]))


def folded(maps: Tensor) -> Tensor:
    """Fold z of maps (batch, maps, z, y, x) into the batch; return single slices unchanged."""
    return maps.transpose(1, 2).flatten(0, 1) if maps.ndim == 5 else maps


def _centres(maps: Tensor, outputs: int) -> Tensor:
    if maps.ndim == 4:
        return maps
    start = (maps.shape[2] - outputs) // 2
    return folded(maps[:, :, start : start + outputs])


def critic(weights: Weights, images: Tensor) -> Tensor:
    """Return the critic's float32 score of each image (n, 1, y, x)."""
    x = images
    for layer in (1, 2, 3, 4, 5, 6):
        stride = 2 - layer % 2
        # TensorFlow's "SAME" padding of even sizes: with a stride of 2 only at the end.
        x = F.pad(x, (2 - stride, 1, 2 - stride, 1))
        x = F.conv2d(x, weights[f"conv{layer}/kernel"], weights[f"conv{layer}/bias"], stride=stride)
        x = F.leaky_relu(x, _SLOPE)
    x = F.linear(x.flatten(1), weights["dense1/kernel"], weights["dense1/bias"])
    x = F.linear(F.leaky_relu(x, _SLOPE), weights["dense2/kernel"], weights["dense2/bias"])
    return x[:, 0].float()


def features(weights: Weights, images: Tensor, spec: FeatureSpec) -> Tensor:
    """Return float32 features of grey images (n, 1, y, x) in [0, 1] at the tap of a VGG trunk."""
    convention = CONVENTIONS[spec.convention]
    mean, sd = (
        torch.tensor(values, device=images.device).reshape(1, 3, 1, 1)
        for values in (convention.mean, convention.sd)
    )
    return _trunk(weights, (convention.scale * images - mean) / sd, spec.architecture, spec.tap)


def _trunk(weights: Weights, x: Tensor, architecture: Architecture, tap: str) -> Tensor:
    block = 1
    for layer in architecture.layers:
        if layer.block > block:
            x, block = F.max_pool2d(x, 2), layer.block
        x = F.conv2d(x, weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"], padding=1)
        if layer.name == tap:
            return x.float()
        x = F.relu(x)
        if layer.name.replace("conv", "relu") == tap:
            return x.float()
    raise AssertionError(f"{architecture.name} has no tap {tap}")
