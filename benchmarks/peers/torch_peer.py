"""PyTorch as a peer: eager, and on a GPU also compiled by `torch.compile`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import jax
import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import environment
from benchmarks.peers.interface import Arrays, arrays_by_name
from benchmarks.peers.torch_device import (
    allow_tensorfloat32,
    autocast,
    compile_function,
    device,
    on_gpu,
    wait,
    weights_on_device,
)
from benchmarks.peers.torch_networks import Weights, as_torch, cpca
from benchmarks.peers.torch_training import TorchTraining
from benchmarks.subjects.trainings import Subject
from cpca_jax.runs.state import TrainState
from cpca_jax.training.steps import Batches
from cpca_jax.types import Params


def torch_peers() -> Sequence["TorchPeer"]:
    """Return eager PyTorch, and compiled PyTorch on a GPU; none if it cannot use JAX's device."""
    if jax.default_backend() not in {"cpu", "gpu"} or (on_gpu() and not torch.cuda.is_available()):
        return []
    torch.set_num_threads(environment.cores())
    torch.backends.cudnn.benchmark = True
    # The default of JAX for float32.
    allow_tensorfloat32(True)
    eager = TorchPeer("torch", compiled=False)
    return [eager, TorchPeer("torch compiled", compiled=True)] if on_gpu() else [eager]


class TorchPeer:
    """PyTorch, eager or compiled; see `interface.Peer`."""

    def __init__(self, name: str, *, compiled: bool) -> None:
        self.name, self._compiled = name, compiled

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Open a context in which float32 is not rounded to TensorFloat32."""
        allow_tensorfloat32(False)
        try:
            yield
        finally:
            allow_tensorfloat32(True)

    def layout(self, params: Params) -> Arrays:
        """Return the leaves in PyTorch's layout."""
        return as_torch(arrays_by_name(params))

    def denoising(
        self, params: Params, slab: np.ndarray, *, slices: int, windows: bool, precision: str
    ) -> "TorchDenoising":
        """Return CPCA with a slab to denoise; see `interface.Peer`."""
        # For a 2D network every slice is a window, and on a CPU one at a time is quicker.
        part = slices if windows or slices == 1 else slab.shape[1]
        starts = range(slab.shape[1] - part + 1)
        slabs = np.stack([slab[0, start : start + part, ..., 0] for start in starts])[:, None]
        network = compile_function(cpca) if self._compiled else cpca
        return TorchDenoising(network, weights_on_device(self.layout(params)), slabs, precision)

    def training(
        self, subject: Subject, start: TrainState, batches: Batches, *, precision: str
    ) -> TorchTraining:
        """Return the training that begins with a state; see `interface.Peer`."""
        return TorchTraining(subject, start, batches, precision, compiled=self._compiled)


class TorchDenoising:
    """A generator and its input; see `interface.PeerDenoising`."""

    def __init__(
        self,
        network: Callable[[Weights, Tensor], Tensor],
        weights: Weights,
        slabs: np.ndarray,
        precision: str,
    ) -> None:
        self._network, self._weights, self._precision = network, weights, precision
        self._slabs = torch.from_numpy(np.ascontiguousarray(slabs)).to(device())

    def __call__(self) -> Tensor:
        """Denoise and wait for the end; (n, 1, y, x)."""
        at_once = len(self._slabs) if on_gpu() else 1
        with torch.inference_mode(), autocast(self._precision):
            parts = [self._network(self._weights, part) for part in self._slabs.split(at_once)]
            denoised = torch.cat(parts)
        wait()
        return denoised

    def answer(self) -> np.ndarray:
        """Return the denoised centres (1, z, y, x, 1), network range."""
        denoised: np.ndarray = self().float().cpu().numpy()
        return denoised[None, :, 0, :, :, None]
