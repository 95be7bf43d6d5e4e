"""Files that hold named arrays and nothing that could be executed: `.safetensors` and `.npz`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np


def read_safetensors(
    path: Path, *, wanted: Callable[[str], bool] = lambda key: True
) -> dict[str, np.ndarray]:
    """Read the arrays of a file by key; arrays whose key is not wanted are not read."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {key: file.get_tensor(key) for key in file.keys() if wanted(key)}  # noqa: SIM118


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a file by key; pickled objects are refused."""
    # The file is opened here because np.load leaves its own handle of a broken zip file open.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}
