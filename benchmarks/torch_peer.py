"""The same training step and the same denoising in PyTorch, written as one writes them there.

Imported by `peers.load` alone, and only where PyTorch is installed; nothing of the package needs
it. The penalty is `torch.autograd.grad(create_graph=True)`; what `torch.compile` has compiled
cannot be differentiated twice that way, so compiled it is `torch.func.grad`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor

from benchmarks import machine
from benchmarks.peers import Arrays, FirstStep, by_name
from benchmarks.sizes import BFLOAT16
from benchmarks.subjects import Subject
from benchmarks.torch_networks import Weights, as_torch, cpca, critic, features, folded
from cpca_jax.objectives.penalties import EPSILON
from cpca_jax.runs.state import TrainState
from cpca_jax.training.steps import Batches
from cpca_jax.types import Params

# A term of the objective, and what it is made of by name.
Loss = tuple[Tensor, dict[str, Tensor]]


def peers() -> Sequence["TorchPeer"]:
    """Eager; on a GPU compiled, too. None where PyTorch cannot use the device that JAX uses."""
    if jax.default_backend() not in {"cpu", "gpu"} or (_on_gpu() and not torch.cuda.is_available()):
        return []
    torch.set_num_threads(machine.cores())
    torch.backends.cudnn.benchmark = True
    # What JAX does with float32 unless told otherwise.
    _allow_tf32(True)
    eager = TorchPeer("torch", compiled=False)
    return [eager, TorchPeer("torch compiled", compiled=True)] if _on_gpu() else [eager]


class TorchPeer:
    """PyTorch, eager or compiled."""

    def __init__(self, name: str, *, compiled: bool) -> None:
        self.name, self._compiled = name, compiled

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """A context in which float32 means float32, also on a GPU."""
        _allow_tf32(False)
        try:
            yield
        finally:
            _allow_tf32(True)

    def layout(self, params: Params) -> Arrays:
        """See `peers.Peer`."""
        return as_torch(by_name(params))

    def denoising(
        self, params: Params, slab: np.ndarray, *, slices: int, windows: bool, precision: str
    ) -> "TorchDenoising":
        """See `peers.Peer`."""
        # Of a 2D network every slice is a window, and on a CPU one by one is quicker.
        part = slices if windows or slices == 1 else slab.shape[1]
        starts = range(slab.shape[1] - part + 1)
        slabs = np.stack([slab[0, start : start + part, ..., 0] for start in starts])[:, None]
        network = _compiled(cpca) if self._compiled else cpca
        return TorchDenoising(network, _weights(self.layout(params)), slabs, precision)

    def training(
        self, subject: Subject, start: TrainState, batches: Batches, *, precision: str
    ) -> "TorchTraining":
        """See `peers.Peer`."""
        return TorchTraining(subject, start, batches, precision, compiled=self._compiled)


class TorchDenoising:
    """See `peers.PeerDenoising`."""

    def __init__(
        self,
        network: Callable[[Weights, Tensor], Tensor],
        weights: Weights,
        slabs: np.ndarray,
        precision: str,
    ) -> None:
        self._network, self._weights, self._precision = network, weights, precision
        self._slabs = torch.from_numpy(np.ascontiguousarray(slabs)).to(_device())

    def __call__(self) -> Tensor:
        """Denoise."""
        at_once = len(self._slabs) if _on_gpu() else 1
        with torch.inference_mode(), _autocast(self._precision):
            parts = [self._network(self._weights, part) for part in self._slabs.split(at_once)]
            denoised = torch.cat(parts)
        _wait()
        return denoised

    def answer(self) -> np.ndarray:
        """The denoised centres (1, z, y, x, 1)."""
        denoised: np.ndarray = self().float().cpu().numpy()
        return denoised[None, :, 0, :, :, None]


class TorchTraining:
    """See `peers.PeerTraining`."""

    def __init__(
        self,
        subject: Subject,
        start: TrainState,
        batches: Batches,
        precision: str,
        *,
        compiled: bool,
    ) -> None:
        assert start.critic is not None
        self._objective, self._precision, self._batches = subject.objective, precision, batches
        self._compiled = compiled
        self._generator = _weights(as_torch(by_name(start.generator.params)), trained=True)
        self._critic = _weights(as_torch(by_name(start.critic.params)), trained=True)
        self._features = _weights(as_torch(by_name(subject.features.params)))
        rates = subject.objective.optim
        self._adam_of_generator = self._adam(self._generator, rates.learning_rate)
        self._adam_of_critic = self._adam(self._critic, rates.critic_learning_rate)
        made = _compiled if compiled else lambda function: function
        self._denoise, self._of_critic = made(cpca), made(self._critic_loss)
        self._of_generator = made(self._generator_loss)

    def __call__(self) -> None:
        """One step, to its end."""
        draws, batch = self._batches.full.shape[:2]
        self._step(torch.rand(draws - 1, batch, device=_device()))
        _wait()

    def first_step(self, shares: np.ndarray) -> FirstStep:
        """One step with given shares of full dose in the points of the penalty (draws, batch)."""
        scalars = self._step(torch.from_numpy(np.array(shares)).to(_device()))
        gradients = {
            player: {name: _gradient(weight) for name, weight in weights.items()}
            for player, weights in (("generator", self._generator), ("critic", self._critic))
        }
        return FirstStep({name: value.item() for name, value in scalars.items()}, gradients)

    def _step(self, shares: Tensor) -> dict[str, Tensor]:
        """The critic's updates on all draws but the last, the generator's on that."""
        low, full = (self._normalised(hu) for hu in (self._batches.low, self._batches.full))
        with torch.no_grad(), _autocast(self._precision):
            fake = self._denoise(self._generator, low[:-1].flatten(0, 1)).float()
        terms: dict[str, Tensor] = {}
        more: dict[str, Tensor]
        for real, made, share in zip(full[:-1], fake.chunk(len(shares)), shares, strict=True):
            with _autocast(self._precision):
                loss, terms = self._of_critic(self._critic, folded(real), made, share)
            _update(self._adam_of_critic, loss, self._critic)
        held = {name: weight.detach() for name, weight in self._critic.items()}
        with _autocast(self._precision):
            loss, more = self._of_generator(self._generator, held, low[-1], folded(full[-1]))
        _update(self._adam_of_generator, loss, self._generator)
        return terms | more

    def _critic_loss(self, weights: Weights, real: Tensor, fake: Tensor, share: Tensor) -> Loss:
        of_real, of_fake = critic(weights, torch.cat([real, fake])).chunk(2)
        share = share.reshape(-1, 1, 1, 1)
        slope = self._slope(weights, share * real + (1 - share) * fake)
        norm = torch.sqrt(slope.float().square().sum(dim=(1, 2, 3)) + EPSILON)
        penalty = (norm - 1).square().mean()
        total = of_fake.mean() - of_real.mean() + self._objective.loss.penalty_weight * penalty
        return total, {"critic_loss": total, "penalty": penalty}

    def _slope(self, weights: Weights, images: Tensor) -> Tensor:
        """Gradient of the scores by the images, to be differentiated again."""
        if self._compiled:
            slope: Tensor = torch.func.grad(lambda x: critic(weights, x).sum())(images)
            return slope
        images.requires_grad_()
        return torch.autograd.grad(critic(weights, images).sum(), images, create_graph=True)[0]

    def _generator_loss(
        self, weights: Weights, of_critic: Weights, low: Tensor, full: Tensor
    ) -> Loss:
        denoised = cpca(weights, low).float()
        spec, loss = self._objective.features, self._objective.loss
        with torch.no_grad():
            target = features(self._features, full, spec)
        perceptual = (features(self._features, denoised, spec) - target).square().mean()
        adversarial = -critic(of_critic, denoised).mean()
        total = loss.adversarial * adversarial + loss.perceptual * perceptual
        terms = {"adversarial": adversarial, "perceptual": perceptual}
        return total, {"generator_loss": total, **terms}

    def _normalised(self, hu: np.ndarray) -> Tensor:
        """HU (draws, batch, z, y, x) to network range, with an axis for maps before z."""
        window = self._objective.window
        on_device = torch.from_numpy(hu).to(_device(), torch.float32)
        return ((on_device - window.low) / window.width).clamp(0, 1).unsqueeze(2)

    def _adam(self, weights: Weights, rate: float) -> Any:
        rates = self._objective.optim
        betas = (rates.beta1, rates.beta2)
        return torch.optim.Adam(weights.values(), rate, betas, rates.epsilon, fused=True)


def _update(adam: Any, loss: Tensor, weights: Mapping[str, Tensor]) -> None:
    adam.zero_grad()
    # Not `autograd.grad`: gradients laid out unlike their weights would mislead the fused Adam.
    loss.backward(inputs=list(weights.values()))
    adam.step()


def _gradient(weight: Tensor) -> np.ndarray:
    assert weight.grad is not None
    return np.asarray(weight.grad.cpu())


def _weights(arrays: Arrays, *, trained: bool = False) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(np.array(array)).to(_device()).requires_grad_(trained)
        for name, array in arrays.items()
    }


def _compiled(function: Any) -> Any:
    # Shapes as they are: other sizes are compiled anew, not once for all sizes and slower.
    return torch.compile(function, dynamic=False)


def _autocast(precision: str) -> Any:
    on = precision == BFLOAT16
    return torch.autocast(_device(), torch.bfloat16, enabled=on)


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def _on_gpu() -> bool:
    return jax.default_backend() == "gpu"


def _device() -> str:
    return "cuda" if _on_gpu() else "cpu"


def _wait() -> None:
    if _on_gpu():
        torch.cuda.synchronize()
