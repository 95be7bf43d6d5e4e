"""Require that a peer computes what the package computes, before its time is compared."""

import jax
import numpy as np

from benchmarks.measuring.precisions import FLOAT32
from benchmarks.peers.interface import Arrays, Peer
from benchmarks.subjects.first_steps import comparable, penalty_shares, reference
from benchmarks.subjects.trainings import Subject
from cpca_jax.training.steps import Batches
from cpca_jax.types import Params

# The largest differences between two implementations: of an answer, relative to its largest value,
# and of a whole gradient, relative to its norm. The order of sums differs, and gradients are sums
# of more terms.
ANSWERS_AGREE, GRADIENTS_AGREE = 1e-4, 1e-3


class DisagreementError(Exception):
    """A peer computes something else, so its times would have no meaning."""


def require_same_denoising(
    peer: Peer, subject: Subject, params: Params, slab: np.ndarray, *, network: str
) -> None:
    """Hold a peer's denoised slices to the package's, from the whole slab and from windows.

    Args:
        peer: the other implementation.
        subject: whose generator denoises.
        params: the generator's.
        slab: (1, z, y, x, 1), network range.
        network: its name in the error.

    Raises:
        DisagreementError: they differ by more than ANSWERS_AGREE of the largest value.
    """
    with jax.default_matmul_precision("highest"), peer.exactly():
        ours = np.asarray(jax.jit(subject.denoise)(params, slab))
        for windows in (False, True):
            theirs = peer.denoising(
                params, slab, slices=subject.slices, windows=windows, precision=FLOAT32
            )
            require_same_answer(network, ours, theirs.answer())


def require_same_answer(what: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Hold a peer's answer to the package's.

    Raises:
        DisagreementError: they differ by more than ANSWERS_AGREE of the largest value.
    """
    if ours.shape != theirs.shape:
        raise DisagreementError(f"{what}: shapes are {ours.shape} and {theirs.shape}")
    off = float(np.max(np.abs(ours - theirs))) / max(float(np.max(np.abs(ours))), 1e-12)
    _require(what, off, ANSWERS_AGREE)


def require_same_step(peer: Peer, subject: Subject, batches: Batches) -> None:
    """Hold a peer's first training step to the package's: every term, both players' gradients.

    Args:
        peer: the other implementation.
        subject: with one critic update.
        batches: of the step.

    Raises:
        DisagreementError: they differ by more than ANSWERS_AGREE or GRADIENTS_AGREE.
    """
    subject, start = comparable(subject)
    with jax.default_matmul_precision("highest"), peer.exactly():
        training = peer.training(subject, start, batches, precision=FLOAT32)
        theirs = training.first_step(penalty_shares(subject))
        ours = reference(subject, start, batches)
    for name, value in theirs.scalars.items():
        wanted = ours.scalars[name]
        _require(name, abs(wanted - value) / max(abs(wanted), 1.0), ANSWERS_AGREE)
    for player, gradient in theirs.gradients.items():
        held = peer.layout(ours.gradients[player])
        off = _norm({leaf: held[leaf] - gradient[leaf] for leaf in gradient})
        _require(f"the {player}'s gradient", off / max(_norm(held), 1e-12), GRADIENTS_AGREE)


def _norm(leaves: Arrays) -> float:
    return float(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in leaves.values())))


def _require(what: str, off: float, allowed: float) -> None:
    # Written so that NaN is refused, too.
    if not off <= allowed:
        raise DisagreementError(f"{what} differs by {off:.1e}, allowed {allowed:.0e}")
