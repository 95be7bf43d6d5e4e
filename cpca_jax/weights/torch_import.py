"""Denoisers from PyTorch: the names and layouts of a state dict become a parameter tree.

A state dict is read from `.safetensors` or `.npz`, which hold arrays and nothing that could be
executed; pickles are refused. Its names reveal the implementation it comes from: one row of
`torch_names.CONVENTIONS` must fit them exactly. PyTorch keeps kernels as (out, in, ky, kx), those
of transposed convolutions as (in, out, ky, kx), and 3D ones with kz before ky.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from cpca_jax import trees
from cpca_jax.errors import WeightsError
from cpca_jax.runtime.circumstances import cause
from cpca_jax.runtime.files import require_file
from cpca_jax.types import Params
from cpca_jax.weights.array_files import Budget, read_npz, read_safetensors
from cpca_jax.weights.torch_names import CONVENTIONS, OWN, Convention

State = Mapping[str, np.ndarray]

# The prefixes of every key of a DataParallel module, and of a GAN's generator.
PREFIXES = ("module.", "generator.")
# PyTorch counts batches; nothing here depends on that count.
_IGNORED = "num_batches_tracked"
_PICKLES = (".pth", ".pt", ".ckpt", ".pkl", ".bin", ".tar")
_LISTED = 8


def read_state(path: Path, *, target_shapes: Params | None = None) -> dict[str, np.ndarray]:
    """Read a state dict; nothing in the file is executed.

    Args:
        path: The `.safetensors` or `.npz` file, which holds arrays by PyTorch's keys.
        target_shapes: The tree to fill, which limits the size of the arrays; without it, the
            size of the file does.

    Raises:
        WeightsError: the file is missing, of another format or broken.
    """
    readers: dict[str, Callable[[Path, Budget], dict[str, np.ndarray]]] = {
        ".safetensors": read_safetensors,
        ".npz": read_npz,
    }
    require_file(path, error=WeightsError)
    if path.suffix in _PICKLES:
        raise WeightsError(
            f"{path.name}: pickles are not opened, as they may run code; save the state dict as "
            ".safetensors or .npz (docs/pytorch.md)"
        )
    if path.suffix not in readers:
        raise WeightsError(f"{path.name}: must end in one of {', '.join(readers)}")
    try:
        needed = path.stat().st_size if target_shapes is None else _bytes(target_shapes)
        return readers[path.suffix](path, Budget(needed))
    except WeightsError as error:
        raise WeightsError(f"{path.name}: {error}") from error
    except Exception as error:  # A broken file can make these readers raise nearly anything.
        raise WeightsError(
            f"{path.name}: cannot be read as {path.suffix} ({cause(error)}); save it again"
        ) from error


def _bytes(shapes: Params) -> int:
    return 4 * sum(int(math.prod(leaf.shape)) for leaf in trees.by_name(shapes).values())


def from_torch(
    name_of_model: str,
    state: State,
    target_shapes: Params,
    *,
    names: Mapping[str, str] | None = None,
) -> Params:
    """Return the parameter tree of a denoiser, filled from a PyTorch state dict.

    Args:
        name_of_model: A key of `models.MODELS`.
        state: The arrays by PyTorch's keys, of any floating-point type.
        target_shapes: The tree to fill; the shapes of its leaves are required.
        names: PyTorch's layers by ours where none of `CONVENTIONS` fits, see `Convention.layers`.

    Returns:
        The tree with float32 arrays, kernels as ([kz,] ky, kx, maps in, maps out).

    Raises:
        WeightsError: keys are missing or left over, a shape is wrong, or an array holds anything
            but finite floating-point numbers; the message names the key and both shapes.
    """
    convention, fitting = recognise(name_of_model, state, target_shapes, names=names)
    targets = {name: tuple(leaf.shape) for name, leaf in trees.by_name(target_shapes).items()}
    arrays = {name: fitting[convention.key(name)] for name in targets}
    faults = {
        f"{convention.key(name)}: {fault}": None  # listed once where layers share their weights
        for name, shape in targets.items()
        if (fault := _fault(name, arrays[name], _their_shape(name, shape)))
    }
    if faults:
        raise WeightsError(_listed(faults))
    leaves = {name: _as_ours(convention, name, array) for name, array in arrays.items()}
    return trees.like(target_shapes, leaves)


def recognise(
    name_of_model: str,
    state: State,
    target_shapes: Params,
    *,
    names: Mapping[str, str] | None = None,
) -> tuple[Convention, State]:
    """Return the convention whose names are those of a state dict, and the state by these names.

    Args:
        name_of_model: A key of `models.MODELS`.
        state: The arrays by PyTorch's keys.
        target_shapes: The tree to fill.
        names: The only naming to consider, if given.

    Returns:
        The convention, and the state without common prefixes and without counts of batches.

    Raises:
        WeightsError: no convention fits; the message lists what is missing and what is left over
            against the closest one.
    """
    targets = {name: tuple(leaf.shape) for name, leaf in trees.by_name(target_shapes).items()}
    known = (*CONVENTIONS.get(name_of_model, ()), OWN)
    if names is not None:
        known = (_given(names, targets),)
    closest: tuple[Convention, list[str]] | None = None
    for variant in _without_prefixes(state):
        for convention in known:
            faults = _misfits(convention, variant, targets)
            if not faults:
                return convention, variant
            if closest is None or len(faults) < len(closest[1]):
                closest = convention, faults
    assert closest is not None
    convention, faults = closest
    raise WeightsError(
        f"these are not weights of {name_of_model} as it is configured; they are closest to "
        f"{convention.source}, but {_listed(faults)}{_hint(faults)}"
    )


def _given(names: Mapping[str, str], targets: Mapping[str, tuple[int, ...]]) -> Convention:
    layers = dict.fromkeys(name.rpartition("/")[0] for name in targets)
    for layer in names:
        if layer not in layers:
            raise WeightsError(f"names: '{layer}' is no layer; there are {', '.join(layers)}")
    return Convention("the given names", names)


def _without_prefixes(state: State) -> Iterator[State]:
    """Yield the state as it is, and then without each prefix that all its keys have."""
    state = {key: array for key, array in state.items() if key.split(".")[-1] != _IGNORED}
    yield state
    while state:
        shared = [p for p in PREFIXES if all(key.startswith(p) for key in state)]
        if not shared:
            return
        state = {key.removeprefix(shared[0]): array for key, array in state.items()}
        yield state


def _misfits(
    convention: Convention, state: State, targets: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Return the keys that are missing and those that are left over, with their shapes."""
    wanted = {convention.key(name): _their_shape(name, shape) for name, shape in targets.items()}
    missing = [f"{key} {shape} is missing" for key, shape in wanted.items() if key not in state]
    unexpected = [f"{k} {a.shape} is unexpected" for k, a in state.items() if k not in wanted]
    return missing + unexpected


def _hint(faults: list[str]) -> str:
    """Return a hint for the configuration where only biases are missing or left over, or ""."""
    if not all(fault.split(" ")[0].endswith(".bias") for fault in faults):
        return ""
    for what, value in (("missing", False), ("unexpected", True)):
        if all(fault.endswith(f"is {what}") for fault in faults):
            return f"; for such weights model.fields.use_bias must be {value}"
    return ""


def _axes(name: str, rank: int) -> tuple[int, ...]:
    """Return the axes of PyTorch's array in the order of ours."""
    layer, _, leaf = name.rpartition("/")
    if leaf != "kernel":
        return tuple(range(rank))
    # Our deconvolutions have this name in every network: with equal numbers of maps in and out,
    # only the name tells which of the first two axes is which.
    transposed = layer.rpartition("/")[2].startswith("deconv")
    return (*range(2, rank), *((0, 1) if transposed else (1, 0)))


def _their_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    axes = _axes(name, len(shape))
    return tuple(shape[axes.index(axis)] for axis in range(len(axes)))


def _fault(name: str, array: np.ndarray, wanted: tuple[int, ...]) -> str:
    """Return the fault of one of PyTorch's arrays, or "" if there is none."""
    if array.shape != wanted:
        return f"its shape is {array.shape}, wanted {wanted}"
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return f"it holds {array.dtype}, wanted floating-point numbers"
    numbers = _as_float32(array)
    if not np.isfinite(numbers).all():
        return "it holds numbers that are not finite in float32"
    if name.endswith("/var") and (numbers < 0).any():
        return "it holds a negative variance"
    return ""


def _as_ours(convention: Convention, name: str, array: np.ndarray) -> np.ndarray:
    ours = _as_float32(array).transpose(_axes(name, array.ndim))
    if convention.merges_reversed and name.startswith("merge") and name.endswith("/kernel"):
        ours = np.roll(ours, ours.shape[-2] // 2, axis=-2)
    return np.ascontiguousarray(ours)


def _as_float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # a number that does not fit becomes infinite and is refused
        return array.astype(np.float32)


def _listed(faults: Iterable[str]) -> str:
    faults = list(faults)
    more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
    return "; ".join(faults[:_LISTED]) + more
