"""Files that hold named arrays and nothing that could be executed: `.safetensors` and `.npz`."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cpca_jax.errors import WeightsError

# A reader takes this many times what the network needs, and some room for texts and headers.
_TIMES, _ROOM = 4, 1 << 20


class Budget:
    """The bytes that the arrays of a file may take in memory, counted before they are unpacked.

    Args:
        needed: the bytes of the network's own arrays in float32.
    """

    def __init__(self, needed: int) -> None:
        self._needed, self._taken = needed, 0

    def take(self, size: int) -> None:
        """Count one array.

        Raises:
            WeightsError: the arrays together are too large.
        """
        self._taken += size
        limit = _TIMES * self._needed + _ROOM
        if self._taken > limit:
            raise WeightsError(
                f"its arrays take {self._taken} bytes or more, must take {limit} at most for "
                "this network"
            )


def read_safetensors(
    path: Path, budget: Budget, *, wanted: Callable[[str], bool] = lambda key: True
) -> dict[str, np.ndarray]:
    """Read the arrays of a file by key; arrays whose key is not wanted are not read."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        keys = [key for key in file.keys() if wanted(key)]  # noqa: SIM118
        for key in keys:
            # The shortest number has one byte, the usual one four.
            budget.take(4 * math.prod(file.get_slice(key).get_shape()))
        return {key: file.get_tensor(key) for key in keys}


def read_npz(path: Path, budget: Budget) -> dict[str, np.ndarray]:
    """Read the arrays of a file by key; pickled objects are refused."""
    # The file is opened here because np.load leaves its own handle of a broken zip file open.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        for entry in file.zip.infolist():
            budget.take(entry.file_size)  # zipfile unpacks no more than this
        return {key: file[key] for key in file.files}
