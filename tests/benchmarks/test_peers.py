"""Peers are compared only once they agree with the package."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_session import tiny_session

from benchmarks.measuring.precisions import FLOAT32
from benchmarks.measuring.timing import Times
from benchmarks.peers.agreement import (
    DisagreementError,
    require_same_answer,
    require_same_step,
)
from benchmarks.peers.installed import installed_peers
from benchmarks.peers.interface import FirstStep, arrays_by_name
from benchmarks.programs import training_step
from benchmarks.subjects.first_steps import reference
from benchmarks.subjects.sizes import TINY, StepCase
from benchmarks.subjects.trainings import make_subject

pytestmark = pytest.mark.slow


class Mirror:
    """A peer that computes with JAX; `off` spoils its answers by that factor."""

    name = "mirror"

    def __init__(self, off=1.0):
        self.off = off

    def exactly(self):
        return contextlib.nullcontext()

    def layout(self, params):
        return arrays_by_name(params)

    def training(self, subject, start, batches, *, precision):
        return MirrorTraining(self, subject, start, batches)


class MirrorTraining:
    def __init__(self, peer, subject, start, batches):
        self.peer, self.subject, self.start, self.batches = peer, subject, start, batches

    def __call__(self):
        pass

    def first_step(self, shares):
        # A copy, because the package's step donates its state, too.
        ours = reference(self.subject, jax.tree.map(jnp.array, self.start), self.batches)
        gradients = {
            player: arrays_by_name(jax.tree.map(lambda leaf: self.peer.off * leaf, tree))
            for player, tree in ours.gradients.items()
        }
        return FirstStep(ours.scalars, gradients)


def test_a_peer_that_agrees_has_its_column():
    made = dataclasses.replace(tiny_session(), notes=[])
    made.ceilings, made.peers = tiny_session().ceilings, [Mirror()]
    (row,) = training_step.measure(made)
    assert isinstance(row["mirror s"], Times)
    assert row["mirror / JAX"] == row["mirror s"].median / row["JAX s"].median
    assert not made.notes


def test_a_peer_with_other_gradients_is_refused():
    made = dataclasses.replace(tiny_session(), notes=[])
    made.peers = [Mirror(off=1.01)]
    with pytest.raises(DisagreementError, match=r"gradient differs by 1\.0e-02"):
        training_step.measure(made)


def test_answers_are_compared_by_their_largest_value():
    ours = np.array([0.0, 100.0])
    require_same_answer("x", ours, ours + 0.009)
    with pytest.raises(DisagreementError, match=r"x differs by 2\.0e-04, allowed 1e-04"):
        require_same_answer("x", ours, ours + 0.02)
    with pytest.raises(DisagreementError, match="shapes"):
        require_same_answer("x", ours, ours[:1])
    with pytest.raises(DisagreementError, match="nan"):
        require_same_answer("x", ours, ours * np.nan)


# The rest runs only where PyTorch is installed; the project's requirements do not include it.


@pytest.fixture(scope="module")
def pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    return installed_peers()[0]


@pytest.mark.parametrize("slices", [1, 3, 9])
@pytest.mark.parametrize("windows", [False, True])
def test_pytorch_denoises_as_jax_does(pytorch, slices, windows):
    subject = make_subject(TINY, StepCase(1), slices=slices)
    params = subject.start().generator.params
    slab = np.random.default_rng(0).uniform(size=(1, slices + 2, 24, 20, 1)).astype(np.float32)
    theirs = pytorch.denoising(params, slab, slices=slices, windows=windows, precision=FLOAT32)
    ours = np.asarray(jax.jit(subject.denoise)(params, slab))
    assert ours.min() > 0
    require_same_answer("cpca", ours, theirs.answer())


def test_a_first_step_in_pytorch_is_ours(pytorch):
    subject = make_subject(TINY, StepCase(2, critic_steps=1))
    require_same_step(pytorch, subject, subject.batches(np.random.default_rng(0)))
