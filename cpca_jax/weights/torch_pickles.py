"""PyTorch's files read without PyTorch: only tensors are read, and nothing is executed."""

import dataclasses
import io
import math
import os
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cpca_jax.errors import WeightsError
from cpca_jax.weights.array_files import Budget


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A place of numbers in a PyTorch file; they are read when a tensor asks for them."""

    key: str
    dtype: str
    count: int

    @property
    def size(self) -> int:
        return self.count * np.dtype(self.dtype).itemsize


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A strided view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape) * np.dtype(self.storage.dtype).itemsize

    def view(self, data: bytes) -> np.ndarray:
        numbers = np.frombuffer(data, self.storage.dtype)
        reach = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
        if min((self.offset, *reach)) < 0 or self.offset + sum(reach) >= len(numbers):
            raise WeightsError("holds a tensor that reaches beyond its numbers")
        steps = [numbers.itemsize * step for step in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps)


class _Parameter:
    """A wrapper of a tensor in files of 2017; the first entry of its state may hold the tensor."""

    def __init__(self, tensor: _Tensor | None = None) -> None:
        self.tensor = tensor

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.__dict__.get("tensor") is None:
            self.tensor = state[0]


def _rebuild(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


# All names that a state dictionary needs, and their stand-ins here. `_rebuild_tensor` and
# `Parameter` occur in the files of 2017 that torchvision still serves.
_TORCH_NAMES: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch.nn.parameter.Parameter": _Parameter,
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.DoubleStorage": "<f8",
}


class AllowListUnpickler(pickle.Unpickler):
    """An unpickler that resolves the listed names to their stand-ins and refuses all others.

    Args:
        file: The pickle.
        allowed: The stand-in of each "module.name".
    """

    def __init__(self, file: io.BufferedIOBase, allowed: Mapping[str, Any]) -> None:
        super().__init__(file)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a name; raise WeightsError where the name is not listed."""
        if f"{module}.{name}" not in self._allowed:
            raise WeightsError(
                f"its pickle asks for {f'{module}.{name}'!r} and is refused: weights need only "
                f"{', '.join(self._allowed)}"
            )
        return self._allowed[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the place of a storage, from ("storage", type, key, device, count[, None])."""
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or any(part is not None for part in view) or count < 0:
            raise WeightsError("its pickle has unknown or overlapping storages")
        return _Storage(key, dtype, count)


# The names and shapes of VGG19 take 3 kB, and no state dictionary notes as many objects.
_LARGEST_PICKLE = 1 << 19
_MOST_NOTED = 1 << 18
_Opened = tuple[dict[str, _Tensor], Callable[[_Storage], bytes]]


def read_torch(path: Path, budget: Budget, skipped: re.Pattern[str]) -> dict[str, np.ndarray]:
    """Read a state dictionary in either serialisation.

    Args:
        path: The `.pth` file.
        budget: The bytes that its numbers may take.
        skipped: A pattern; names that begin with it are not read (the classifier).

    Returns:
        The arrays by name, with axes as PyTorch keeps them.

    Raises:
        WeightsError: the pickle names anything but tensors, or storages that do not fit.
    """
    with path.open("rb") as file:
        is_zip = file.peek(4).startswith(b"PK\x03\x04")
        tensors, read = _open_zip(file) if is_zip else _open_legacy(file)
        kept = {name: tensor for name, tensor in tensors.items() if not skipped.match(name)}
        for tensor in kept.values():
            # A tensor with steps of nothing is larger than its numbers.
            budget.take(max(tensor.storage.size, tensor.size))
        return {name: tensor.view(read(tensor.storage)) for name, tensor in kept.items()}


def _tensors(state: Mapping[str, Any]) -> dict[str, _Tensor]:
    tensors: dict[str, _Tensor] = {}
    for name, value in state.items():
        tensor = value.tensor if isinstance(value, _Parameter) else value
        if not isinstance(tensor, _Tensor):
            raise WeightsError("holds more than named tensors; give a state dictionary")
        tensors[name] = tensor
    return tensors


def _load(file: io.BytesIO | io.BufferedReader) -> Any:
    """Read one pickle, whose length and whose numbers of noted objects are judged first.

    The unpickler keeps a list as long as the highest of these numbers.
    """
    start = file.tell()
    for operation, argument, place in pickletools.genops(file):
        if operation.name.endswith("PUT") and int(argument or 0) > _MOST_NOTED:
            raise WeightsError("its pickle notes more objects than any state dictionary")
        if (place or start) - start > _LARGEST_PICKLE:
            raise WeightsError("its pickle is larger than that of any state dictionary")
    file.seek(start)
    return AllowListUnpickler(file, _TORCH_NAMES).load()


def _open_zip(file: io.BufferedReader) -> _Opened:
    """Open the serialisation since PyTorch 1.6: a zip of one pickle and an entry per storage."""
    archive = zipfile.ZipFile(file)
    (pickled,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if archive.getinfo(pickled).file_size > _LARGEST_PICKLE:
        raise WeightsError("its pickle is larger than that of any state dictionary")
    root = pickled.removesuffix("data.pkl")

    def read(storage: _Storage) -> bytes:
        entry = archive.getinfo(f"{root}data/{storage.key}")
        if entry.file_size != storage.size:  # checked before anything is unpacked into memory
            raise WeightsError("a storage does not have the size that the pickle states")
        return archive.read(entry)

    file_of_state = io.BytesIO(archive.read(pickled))
    return _tensors(_load(file_of_state)), read


def _open_legacy(file: io.BufferedReader) -> _Opened:
    """Open the earlier serialisation: five pickles, then every storage behind its count."""
    magic, version, system, state, keys = (_load(file) for _ in range(5))
    if (magic, version, system["little_endian"]) != (0x1950A86A20F9469CFC6C, 1001, True):
        raise WeightsError("is not a PyTorch state dictionary of a little-endian machine")
    tensors = _tensors(state)
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    places: dict[str, int] = {}
    for key in keys:
        if int.from_bytes(file.read(8), "little") != storages[key].count:
            raise WeightsError("a storage does not have the size that the pickle states")
        places[key] = file.tell()
        file.seek(storages[key].size, os.SEEK_CUR)  # The classifier is most of the file.
    if file.tell() > os.fstat(file.fileno()).st_size:
        raise WeightsError("is cut short")

    def read(storage: _Storage) -> bytes:
        file.seek(places[storage.key])
        return file.read(storage.size)

    return tensors, read
