"""PyTorch on the device that JAX uses: weights, precision, compiling, waiting."""

from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring.precisions import BFLOAT16
from benchmarks.peers.interface import Arrays


def weights_on_device(arrays: Arrays, *, trained: bool = False) -> dict[str, Tensor]:
    """Return copies of the arrays on the device, with gradients if they are trained."""
    return {
        name: torch.from_numpy(np.array(array)).to(device()).requires_grad_(trained)
        for name, array in arrays.items()
    }


def compile_function(function: Any) -> Any:
    """Return the function compiled by `torch.compile`, once for every shape of its arguments."""
    # One compilation for all sizes would be slower code.
    return torch.compile(function, dynamic=False)


def autocast(precision: str) -> Any:
    """Return a context that computes in bfloat16 where that is the precision."""
    return torch.autocast(device(), torch.bfloat16, enabled=precision == BFLOAT16)


def allow_tensorfloat32(allowed: bool) -> None:
    """Let a GPU round float32 to TensorFloat32 in products and convolutions, or not."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def on_gpu() -> bool:
    """Return True if JAX uses a GPU."""
    return jax.default_backend() == "gpu"


def device() -> str:
    """Return PyTorch's name of the device that JAX uses."""
    return "cuda" if on_gpu() else "cpu"


def wait() -> None:
    """Wait until the device has done what it was given."""
    if on_gpu():
        torch.cuda.synchronize()
