"""VGG weights in the file formats in which they are published.

Nothing in a file is ever executed: pickles go through an unpickler that knows a few names and
refuses all others. Every reader returns flat float arrays by "conv1_1/kernel" and
"conv1_1/bias", kernels as (ky, kx, channels in, channels out). Arrays that belong to no layer keep
the file's name, so that `vgg.checked` can say which ones are left over.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cpca_jax.errors import WeightsError
from cpca_jax.models.vgg import Architecture, digest
from cpca_jax.objectives.perceptual import SOURCES
from cpca_jax.runtime import hdf5_files
from cpca_jax.runtime.circumstances import cause
from cpca_jax.runtime.files import whole_file
from cpca_jax.weights.array_files import Budget, read_npz, read_safetensors
from cpca_jax.weights.torch_pickles import read_torch

_Arrays = dict[str, np.ndarray]

# The layers behind the trunk in Keras, torchvision and timm; a trunk does not need them.
_CLASSIFIER = re.compile(r"(fc\d|predictions|classifier|pre_logits|head)\b")


def read_arrays(path: Path, architecture: Architecture) -> tuple[str, _Arrays]:
    """Read a weights file in the format that its ending indicates.

    Args:
        path: A Keras `.h5`, a PyTorch `.pth` (either serialisation) or `.safetensors` with
            torchvision's layer names, or an `.npz` of `write_npz`.
        architecture: The trunk that gives torchvision's numbers their layer names.

    Returns:
        The origin of the weights, a key of `perceptual.SOURCES`, and the arrays, unchecked.

    Raises:
        WeightsError: The file is missing, of another format, broken or unsafe.
    """
    shapes = [shape for layer in architecture.layers for shape in layer.shapes.values()]
    budget = Budget(4 * sum(map(math.prod, shapes)))
    readers: dict[str, Callable[[], tuple[str, _Arrays]]] = {
        ".h5": lambda: ("caffe", _read_keras(path, budget)),
        ".pth": lambda: (
            "torchvision",
            _by_layer(read_torch(path, budget, _CLASSIFIER), architecture),
        ),
        ".npz": lambda: _read_npz(path, budget),
        ".safetensors": lambda: ("torchvision", _by_layer(_read_safe(path, budget), architecture)),
    }
    if path.suffix not in readers:
        raise WeightsError(f"{path.name}: must end in one of {', '.join(readers)}")
    try:
        return readers[path.suffix]()
    except WeightsError as error:
        raise WeightsError(f"{path.name}: {error}") from error
    except Exception as error:  # A broken file can make these readers raise nearly anything.
        raise WeightsError(
            f"{path.name}: cannot be read as {path.suffix} weights ({cause(error)}); "
            "fetch or convert it again"
        ) from error


def _read_keras(path: Path, budget: Budget) -> _Arrays:
    """Read Keras: block1_conv1/block1_conv1_W_1:0 or .../block1_conv1/kernel:0, kernels HWIO."""
    arrays: _Arrays = {}

    def visit(name: str, node: Any) -> None:
        if _CLASSIFIER.search(name):
            return
        fault = hdf5_files.fault(node.file, name)
        if fault:
            raise WeightsError(f"{name} {fault}")
        budget.take(int(node.nbytes))
        layer = re.search(r"(?:^|/)block(\d+)_conv(\d+)/", name)
        leaf = re.fullmatch(r"(?:\w+_)?(W|kernel|b|bias)(?:_\d+)?(?::0)?", name.split("/")[-1])
        if layer and leaf:
            kind = "kernel" if leaf[1] in {"W", "kernel"} else "bias"
            name = f"conv{layer[1]}_{layer[2]}/{kind}"
        arrays[name] = node[()]

    with hdf5_files.opened(path) as file:
        hdf5_files.visit_datasets(file, visit)
    return arrays


def _read_safe(path: Path, budget: Budget) -> _Arrays:
    return read_safetensors(path, budget, wanted=lambda name: not _CLASSIFIER.match(name))


def _read_npz(path: Path, budget: Budget) -> tuple[str, _Arrays]:
    arrays = read_npz(path, budget)
    facts = {key: str(arrays.pop(key)) for key in ("source", "convention", "digest")}
    if SOURCES.get(facts["source"]) != facts["convention"]:
        raise WeightsError(
            f"the source {facts['source']!r} does not have the convention {facts['convention']!r}"
        )
    if digest(arrays) != facts["digest"]:
        raise WeightsError("the numbers do not have the digest stored with them")
    return facts["source"], arrays


def write_npz(path: Path, source: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays together with their source, convention and digest."""
    facts = {"source": source, "convention": SOURCES[source], "digest": digest(arrays)}
    texts = {key: np.array(text) for key, text in facts.items()}
    with whole_file(path) as file:
        np.savez(file, allow_pickle=False, **texts, **arrays)


def _by_layer(state: Mapping[str, np.ndarray], architecture: Architecture) -> _Arrays:
    """Rename torchvision's "features.<N>" to layer names; N counts ReLUs and poolings too."""
    names: dict[str, str] = {}
    for index, layer in enumerate(architecture.layers):
        names[f"features.{2 * index + layer.block - 1}"] = layer.name
    arrays: _Arrays = {}
    for name, array in state.items():
        number, _, leaf = name.rpartition(".")
        if number in names and leaf in {"weight", "bias"}:
            name = f"{names[number]}/{'kernel' if leaf == 'weight' else 'bias'}"
        # PyTorch keeps kernels as (out, in, ky, kx).
        arrays[name] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
    return arrays
