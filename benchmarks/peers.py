"""What the package is compared with: another implementation of the same work on the same weights.

The only one is PyTorch's, `torch_peer`, where PyTorch is installed; nothing else here knows it. A
peer is compared only after it has given the package's own answers.
"""

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import jax
import numpy as np

from benchmarks.sizes import FLOAT32
from benchmarks.subjects import Subject, step_key, train_step
from benchmarks.timing import Contestant
from cpca_jax import trees
from cpca_jax.runs.state import TrainState
from cpca_jax.training.steps import Batches
from cpca_jax.types import Params

# Between the two implementations: of an answer, relative to its largest value, and of a whole
# gradient, by its norm. Sums are taken in another order, and the gradients are sums of many.
ANSWERS_AGREE, GRADIENTS_AGREE = 1e-4, 1e-3

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class FirstStep:
    """What a first training step found, to be compared.

    Attributes:
        scalars: terms by the names that the package logs them under.
        gradients: of the critic's first and of the generator's update, in the peer's layout.
    """

    scalars: Mapping[str, float]
    gradients: Mapping[str, Arrays]


class PeerTraining(Protocol):
    """A training in progress: each call is one step, to its end."""

    def __call__(self) -> None:
        """One step."""

    def first_step(self, shares: np.ndarray) -> FirstStep:
        """One step with given shares of full dose in the points of the penalty (draws, batch)."""


class PeerDenoising(Protocol):
    """A generator and what it is to denoise: each call denoises it, to its end."""

    def __call__(self) -> Any:
        """Denoise."""

    def answer(self) -> np.ndarray:
        """The denoised centres (batch, z, y, x, 1)."""


class Peer(Protocol):
    """Another implementation."""

    @property
    def name(self) -> str:
        """Stands in the head of its column."""

    def exactly(self) -> AbstractContextManager[None]:
        """A context in which float32 means float32."""

    def layout(self, params: Params) -> Arrays:
        """The leaves of a parameter tree, or of its gradient, as the peer holds them."""

    def denoising(
        self, params: Params, slab: np.ndarray, *, slices: int, windows: bool, precision: str
    ) -> PeerDenoising:
        """CPCA at work on a slab (1, z, y, x, 1), whole or as separate windows of `slices`."""

    def training(
        self, subject: Subject, start: TrainState, batches: Batches, *, precision: str
    ) -> PeerTraining:
        """The training that begins with this state."""


class DisagreementError(Exception):
    """The peer does not compute the same: its times would mean nothing."""


def load() -> Sequence[Peer]:
    """The peers there are; none where PyTorch is not installed, or not for this device."""
    if importlib.util.find_spec("torch") is None:
        return ()
    from benchmarks import torch_peer

    return torch_peer.peers()


def usable(
    contestants: Mapping[str, Contestant], note: Callable[[str], None]
) -> dict[str, Contestant]:
    """Those that can do it at all; a compiler that fails on this machine is noted and left out."""
    kept = {}
    for name, run in contestants.items():
        try:
            run()
            kept[name] = run
        except Exception as error:  # whatever a compiler or a driver raises
            note(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return kept


def require_same_answer(what: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Hold a peer's answer to ours.

    Raises:
        DisagreementError: they differ by more than ANSWERS_AGREE of the largest value.
    """
    if ours.shape != theirs.shape:
        raise DisagreementError(f"{what}: shapes are {ours.shape} and {theirs.shape}")
    off = float(np.max(np.abs(ours - theirs))) / max(float(np.max(np.abs(ours))), 1e-12)
    _require(what, off, ANSWERS_AGREE)


def require_same_step(peer: Peer, subject: Subject, batches: Batches) -> None:
    """Hold a peer's first training step to ours: every term, and both players' gradients.

    Args:
        peer: the other implementation.
        subject: with one critic update, so that Adam's first moment holds its gradient.
        batches: of the step.

    Raises:
        DisagreementError: they differ by more than ANSWERS_AGREE or GRADIENTS_AGREE.
    """
    assert subject.experiment.loss.critic_steps == 1
    subject, start = _with_steady_adam(subject), _without_ties(subject.start())
    with jax.default_matmul_precision("highest"), peer.exactly():
        theirs = peer.training(subject, start, batches, precision=FLOAT32)
        found = theirs.first_step(_shares(subject))
        stepped, scalars = train_step(subject)(start, batches, subject.features.params, step_key())
    for name, value in found.scalars.items():
        ours = float(scalars[name])
        _require(name, abs(ours - value) / max(abs(ours), 1.0), ANSWERS_AGREE)
    for player, gradient in found.gradients.items():
        held = peer.layout(_first_gradient(subject, getattr(stepped, player).opt_state.mu))
        off = _norm({leaf: held[leaf] - gradient[leaf] for leaf in gradient})
        _require(f"the {player}'s gradient", off / max(_norm(held), 1e-12), GRADIENTS_AGREE)


def _with_steady_adam(subject: Subject) -> Subject:
    """Adam with a large epsilon, or rounding of tiny gradients would become whole steps."""
    objective = subject.objective
    optim = dataclasses.replace(objective.optim, epsilon=1.0)
    return dataclasses.replace(subject, objective=dataclasses.replace(objective, optim=optim))


def _without_ties(start: TrainState) -> TrainState:
    """Biases that are not zero: at exactly 0 JAX and PyTorch differ in a leaky ReLU's slope."""
    assert start.critic is not None
    leaves = trees.by_name(start.critic.params)
    moved = {name: leaf + 0.01 for name, leaf in leaves.items() if name.endswith("bias")}
    params = trees.replaced(start.critic.params, moved)
    return start.replace(critic=start.critic.replace(params=params))


def _first_gradient(subject: Subject, moment: Params) -> Params:
    """Adam's first moment after one update is (1 - beta1) times the gradient."""
    return jax.tree.map(lambda m: np.asarray(m) / (1 - subject.objective.optim.beta1), moment)


def _norm(leaves: Arrays) -> float:
    return float(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in leaves.values())))


def _shares(subject: Subject) -> np.ndarray:
    """What `penalties.between` draws in the first step of ours, (draws, batch)."""
    draws, batch = subject.draws - 1, subject.experiment.data.batch
    keys = jax.random.split(jax.random.fold_in(step_key(), 0), draws)
    drawn = [jax.random.uniform(key, (batch, 1, 1, 1)) for key in keys]
    return np.stack(drawn).reshape(draws, batch)


def _require(what: str, off: float, allowed: float) -> None:
    if not off <= allowed:
        raise DisagreementError(f"{what} differs by {off:.1e}, allowed {allowed:.0e}")


def by_name(params: Params) -> dict[str, np.ndarray]:
    """The leaves of a tree by their name, such as "conv1/kernel"."""
    return {name: np.asarray(leaf) for name, leaf in trees.by_name(params).items()}
