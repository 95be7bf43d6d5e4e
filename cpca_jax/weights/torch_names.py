"""Layer names of published PyTorch networks: one row per network and implementation."""

import dataclasses
from collections.abc import Mapping
from typing import Any

# PyTorch's name of each of our leaves.
LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


@dataclasses.dataclass(frozen=True)
class Convention:
    """The layer names of one implementation of a network.

    Attributes:
        source: the implementation that uses these names.
        layers: their name of a layer by ours, such as "stage1/conv1". Several of our layers may
            take the same one of theirs; layers not named here have our name, with dots.
        fields: the values of our network's fields with which it computes the same as theirs.
        merges_reversed: whether theirs concatenates decoder and encoder maps in this order. Ours
            does it the other way round, so that the halves of a merge kernel's input maps change
            places.
    """

    source: str
    layers: Mapping[str, str]
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    merges_reversed: bool = False

    def key(self, name: str) -> str:
        """Return their key of our leaf `name`, such as "conv1/kernel"."""
        layer, _, leaf = name.rpartition("/")
        return f"{self.layers.get(layer, layer.replace('/', '.'))}.{LEAVES[leaf]}"


def _numbered(ours: str, theirs: str, count: int) -> dict[str, str]:
    """Return the names of layers that both number from 1."""
    return {f"{ours}{n}": f"{theirs}{n}" for n in range(1, count + 1)}


OWN = Convention("the names of this project", {})
# The conventions by model. The sources are GitHub repositories.
CONVENTIONS: dict[str, tuple[Convention, ...]] = {
    "cnn": (
        # eeulig/ldct-benchmark, ldctbench/methods/cnn10/network.py
        Convention(
            "ldct-benchmark CNN-10",
            {f"conv{n}": f"layers.{2 * n - 2}" for n in (1, 2, 3)},
            {"final_activation": "none", "padding": "zeros"},
        ),
    ),
    "red_cnn": (
        # eeulig/ldct-benchmark, ldctbench/methods/redcnn/network.py
        Convention(
            "ldct-benchmark RED-CNN",
            _numbered("deconv", "tconv", 5),
            {"final_activation": "none"},
        ),
        # SSinyu/RED-CNN, networks.py; four layers of each half share their weights
        Convention(
            "SSinyu/RED-CNN, shared layers",
            {"conv1": "conv_first"}
            | {f"conv{n}": "conv" for n in (2, 3, 4, 5)}
            | {f"deconv{n}": "conv_t" for n in (1, 2, 3, 4)}
            | {"deconv5": "conv_t_last"},
            {"final_activation": "relu"},
        ),
    ),
    "wgan_vgg": (
        # eeulig/ldct-benchmark, ldctbench/methods/wganvgg/network.py, which has no last ReLU, and
        # SSinyu/WGAN-VGG, networks.py, which has one: names and shapes are the same
        Convention(
            "ldct-benchmark WGAN-VGG (no last activation) or SSinyu/WGAN-VGG (ReLU)",
            {f"conv{n}": f"net.{2 * n - 2}" for n in range(1, 9)},
            {"padding": "zeros"},
        ),
        # SSinyu/WGAN-VGG, model.py of the first versions; the six middle layers are one layer
        Convention(
            "SSinyu/WGAN-VGG, shared layers",
            {"conv1": "g_conv_n32s1_f", "conv8": "g_conv_n1s1"}
            | {f"conv{n}": "g_conv_n32s1" for n in range(2, 8)},
            {"final_activation": "relu", "padding": "zeros"},
        ),
    ),
    "cpca": (
        # wjkim81/wavelet-ldct-denoising, models/cpce2d.py
        Convention(
            "CPCE-2D of wjkim81/wavelet-ldct-denoising",
            {f"deconv{4 + n}": f"deconv{n}" for n in (1, 2, 3, 4)}
            | {f"merge{4 + n}": f"conv1x1_{n}" for n in (1, 2, 3)},
            {"final_activation": "relu", "shortcut": False},
            merges_reversed=True,
        ),
    ),
    "gan3d": (
        # resonance20/DLDenoise, deployable/GAN.py; the later versions, with batch normalisation
        Convention(
            "DLDenoise GAN-3D",
            _numbered("norm", "bn", 6),
            {"padding": "mirrored", "slope": 0.01},
        ),
    ),
}
