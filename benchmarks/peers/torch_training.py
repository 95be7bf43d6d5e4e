"""The training step in PyTorch, written as its users write it.

The penalty is `torch.autograd.grad(create_graph=True)`. What `torch.compile` has compiled cannot be
differentiated twice that way, so compiled it is `torch.func.grad`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.interface import FirstStep, arrays_by_name
from benchmarks.peers.torch_device import (
    autocast,
    compile_function,
    device,
    wait,
    weights_on_device,
)
from benchmarks.peers.torch_networks import Weights, as_torch, cpca, critic, features, folded
from benchmarks.subjects.trainings import Subject
from cpca_jax.objectives.penalties import EPSILON
from cpca_jax.runs.state import TrainState
from cpca_jax.training.steps import Batches
from cpca_jax.types import Params

# A loss, and its terms by name.
Loss = tuple[Tensor, dict[str, Tensor]]


class TorchTraining:
    """A training in progress; see `interface.PeerTraining`."""

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
        self._generator = _weights(start.generator.params, trained=True)
        self._critic = _weights(start.critic.params, trained=True)
        self._features = _weights(subject.features.params, trained=False)
        rates = subject.objective.optim
        self._adam_of_generator = self._adam(self._generator, rates.learning_rate)
        self._adam_of_critic = self._adam(self._critic, rates.critic_learning_rate)
        form = compile_function if compiled else lambda function: function
        self._denoise, self._of_critic = form(cpca), form(self._critic_loss)
        self._of_generator = form(self._generator_loss)

    def __call__(self) -> None:
        """Take one step and wait for its end."""
        draws, batch = self._batches.full.shape[:2]
        self._step(torch.rand(draws - 1, batch, device=device()))
        wait()

    def first_step(self, shares: np.ndarray) -> FirstStep:
        """Take one step with given shares of full dose in the points of the penalty."""
        scalars = self._step(torch.from_numpy(np.array(shares)).to(device()))
        gradients = {
            player: {name: _gradient(weight) for name, weight in weights.items()}
            for player, weights in (("generator", self._generator), ("critic", self._critic))
        }
        return FirstStep({name: value.item() for name, value in scalars.items()}, gradients)

    def _step(self, shares: Tensor) -> dict[str, Tensor]:
        """Update the critic on all draws but the last, and the generator on the last."""
        low, full = (self._normalised(hu) for hu in (self._batches.low, self._batches.full))
        with torch.no_grad(), autocast(self._precision):
            fake = self._denoise(self._generator, low[:-1].flatten(0, 1)).float()
        terms: dict[str, Tensor] = {}
        more: dict[str, Tensor]
        for real, made, share in zip(full[:-1], fake.chunk(len(shares)), shares, strict=True):
            with autocast(self._precision):
                loss, terms = self._of_critic(self._critic, folded(real), made, share)
            _update(self._adam_of_critic, loss, self._critic)
        held = {name: weight.detach() for name, weight in self._critic.items()}
        with autocast(self._precision):
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
        """Return the gradient of the scores by the images, to be differentiated again."""
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
        """Return HU (draws, batch, z, y, x) in network range, with an axis for maps before z."""
        window = self._objective.window
        on_device = torch.from_numpy(hu).to(device(), torch.float32)
        return ((on_device - window.low) / window.width).clamp(0, 1).unsqueeze(2)

    def _adam(self, weights: Weights, rate: float) -> Any:
        rates = self._objective.optim
        betas = (rates.beta1, rates.beta2)
        return torch.optim.Adam(weights.values(), rate, betas, rates.epsilon, fused=True)


def _weights(params: Params, *, trained: bool) -> dict[str, Tensor]:
    return weights_on_device(as_torch(arrays_by_name(params)), trained=trained)


def _update(adam: Any, loss: Tensor, weights: Mapping[str, Tensor]) -> None:
    adam.zero_grad()
    # Not `autograd.grad`: its gradients may have another memory layout than their weights, and the
    # fused Adam then updates the wrong numbers.
    loss.backward(inputs=list(weights.values()))
    adam.step()


def _gradient(weight: Tensor) -> np.ndarray:
    assert weight.grad is not None
    return np.asarray(weight.grad.cpu())
