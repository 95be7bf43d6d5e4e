"""The counted work of trainings as configured, and of denoising a slice."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.measuring.work import Work, count
from benchmarks.subjects.trainings import Subject, assemble, step_work
from cpca_jax.configs import cpca1, deck
from cpca_jax.models import count_weights
from cpca_jax.models.cascade import Cascade
from cpca_jax.runs import config
from cpca_jax.runs.config import Experiment
from cpca_jax.training.cascade import stage_experiment
from cpca_jax.training.experiment import build_networks
from cpca_jax.training.steps import Batches

# The edge of a slice, and the slices of a slab that an accelerator denoises at once.
EDGE, SLAB = 512, 32
# The value of configured paths that are not read.
_ON_PAPER = "on paper"


@dataclasses.dataclass(frozen=True)
class Job:
    """A training, as far as predictions need it.

    Attributes:
        name: its name in the deck.
        steps: their number.
        step: the work of one step.
        exchanged: bytes of gradients that devices add up in one step.
        after: the training whose result it starts from; "" for none.
        times: the number of such trainings, which do not wait for each other.
    """

    name: str
    steps: int
    step: Work
    exchanged: int
    after: str = ""
    times: int = 1


def deck_jobs(scale: str) -> Sequence[Job]:
    """Return every training of configs/deck.py at a size, with those of the sweep over lambda_p."""
    chosen = deck.get_config(scale)
    jobs = [
        job
        for name, training in chosen.trainings.items()
        for job in _jobs(name, training.config, training.source)
    ]
    sweep = chosen.sweep
    (one,) = _jobs("CPCA-1 of the sweep", sweep.config, "")
    return [*jobs, dataclasses.replace(one, times=len(sweep["values"]) * sweep.folds)]


def job_of(name: str, chosen: ConfigDict) -> Job:
    """Return one training; of a cascade its last stage."""
    return list(_jobs(name, chosen, ""))[-1]


def _jobs(name: str, chosen: ConfigDict, after: str) -> Iterator[Job]:
    chosen = chosen.copy_and_resolve_references()
    chosen.data.store = _ON_PAPER
    chosen.perceptual.network = "random"  # as large as the trained one
    experiment = config.parse(chosen)
    network = build_networks(experiment).generator
    stages = network.stages if isinstance(network, Cascade) else 1
    for number in range(1, stages + 1):
        stage = experiment
        if isinstance(network, Cascade):
            stage = stage_experiment(experiment, number, Path(_ON_PAPER), network)
        stage_name = name if number == 1 else f"{name}, stage {number}"
        yield _job(stage_name, stage, after)
        after = stage_name


def _job(name: str, experiment: Experiment, after: str) -> Job:
    subject = assemble(experiment)
    work = step_work(subject, _batches(subject))
    shapes = subject.shapes()
    exchanged = 4 * count_weights(shapes.generator.params)
    if shapes.critic is not None:
        exchanged += (subject.draws - 1) * 4 * count_weights(shapes.critic.params)
    return Job(name, experiment.train.total_steps, work, exchanged, after)


def _batches(subject: Subject) -> Batches:
    """Return the shapes of one step's batches."""
    data, slices = subject.experiment.data, subject.experiment.model.slices

    def patches(depth: int) -> jax.ShapeDtypeStruct:
        shape = (subject.draws, data.batch, depth, data.patch, data.patch)
        return jax.ShapeDtypeStruct(shape, jnp.int16)

    return Batches(patches(slices + data.centres - 1), patches(data.centres))


def slice_work(slices: int, *, slab: int = SLAB, edge: int = EDGE) -> Work:
    """Return the work for one slice denoised by CPCA-`slices` in float32: its share of a slab."""
    chosen = cpca1.get_config()
    chosen.model.slices, chosen.data.store = slices, _ON_PAPER
    chosen.perceptual.network = "random"
    subject = assemble(config.parse(chosen))
    stack = jax.ShapeDtypeStruct((1, slab + slices - 1, edge, edge, 1), jnp.float32)
    return count(subject.denoise, subject.shapes().generator.params, stack) // slab
