"""The interface of a peer: another implementation of the same work on the same weights."""

import dataclasses
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from benchmarks.subjects.trainings import Subject
from cpca_jax import trees
from cpca_jax.runs.state import TrainState
from cpca_jax.training.steps import Batches
from cpca_jax.types import Params

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class FirstStep:
    """The results of a first training step, to be compared.

    Attributes:
        scalars: terms by the names that the package logs.
        gradients: of the critic's first and of the generator's update, in the peer's layout.
    """

    scalars: Mapping[str, float]
    gradients: Mapping[str, Arrays]


class PeerTraining(Protocol):
    """A training in progress: each call is one step."""

    def __call__(self) -> None:
        """Take one step and wait for its end."""

    def first_step(self, shares: np.ndarray) -> FirstStep:
        """Take one step with given points of the penalty.

        Args:
            shares: of full dose in each point (critic updates, batch), 0 to 1.
        """


class PeerDenoising(Protocol):
    """A generator and its input: each call denoises that input."""

    def __call__(self) -> Any:
        """Denoise and wait for the end."""

    def answer(self) -> np.ndarray:
        """Return the denoised centres (batch, z, y, x, 1), network range."""


class Peer(Protocol):
    """Another implementation."""

    @property
    def name(self) -> str:
        """The head of its column."""

    def exactly(self) -> AbstractContextManager[None]:
        """Return a context in which float32 is not rounded to TensorFloat32."""

    def layout(self, params: Params) -> Arrays:
        """Return the leaves of a parameter tree, or of its gradient, in the peer's layout."""

    def denoising(
        self, params: Params, slab: np.ndarray, *, slices: int, windows: bool, precision: str
    ) -> PeerDenoising:
        """Return CPCA with a slab to denoise.

        Args:
            params: the generator's.
            slab: (1, z, y, x, 1), network range.
            slices: input slices of one denoised slice.
            windows: denoise every slice from a window of its own, not the slab as a whole.
            precision: a name of `precisions`.
        """

    def training(
        self, subject: Subject, start: TrainState, batches: Batches, *, precision: str
    ) -> PeerTraining:
        """Return the training that begins with a state and repeats a step's batches."""


def arrays_by_name(params: Params) -> dict[str, np.ndarray]:
    """Return the leaves of a tree by their names, such as "conv1/kernel"."""
    return {name: np.asarray(leaf) for name, leaf in trees.by_name(params).items()}
