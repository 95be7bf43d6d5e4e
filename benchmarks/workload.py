"""How much there is to compute, counted: of trainings as configured, and of denoising."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.counting import Work, count
from benchmarks.subjects import assembled, step_work
from cpca_jax.configs import cpca1, deck
from cpca_jax.models import count_weights
from cpca_jax.runs import config
from cpca_jax.runs.config import Experiment
from cpca_jax.training.cascade import stage_experiment
from cpca_jax.training.steps import Batches

# Of a slice, and of the slab in which it is denoised on an accelerator.
EDGE, SLAB = 512, 32


@dataclasses.dataclass(frozen=True)
class Job:
    """A training on paper.

    Attributes:
        name: in the deck's words.
        steps: how many.
        step: work of one.
        exchanged: bytes of gradients that devices add up in one step.
        after: the training that must be over before; "" for none.
        times: how many of them, none of which waits for another.
    """

    name: str
    steps: int
    step: Work
    exchanged: int
    after: str = ""
    times: int = 1


def deck_jobs(scale: str) -> Sequence[Job]:
    """Every training of configs/deck.py at a size, those of the sweep over lambda_p too."""
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
    """One training; of a cascade its last stage."""
    return list(_jobs(name, chosen, ""))[-1]


def _jobs(name: str, chosen: ConfigDict, after: str) -> Iterator[Job]:
    chosen = chosen.copy_and_resolve_references()
    chosen.data.store = "on paper"
    chosen.perceptual.network = "random"  # as large as the real one
    experiment = config.parse(chosen)
    stages = experiment.train.stages
    for number in range(1, stages + 1):
        stage = experiment
        if stages > 1:
            stage = stage_experiment(experiment, number, Path("on paper"))
        named = name if number == 1 else f"{name}, stage {number}"
        yield _job(named, stage, after)
        after = named


def _job(name: str, experiment: Experiment, after: str) -> Job:
    of = assembled(experiment)
    work = step_work(of, _batches(experiment, of.draws))
    shapes = of.shapes()
    exchanged = 4 * count_weights(shapes.generator.params)
    if shapes.critic is not None:
        exchanged += (of.draws - 1) * 4 * count_weights(shapes.critic.params)
    return Job(name, experiment.train.total_steps, work, exchanged, after)


def _batches(experiment: Experiment, draws: int) -> Batches:
    data, slices = experiment.data, experiment.model.slices

    def of(depth: int) -> jax.ShapeDtypeStruct:
        shape = (draws, data.batch, depth, data.patch, data.patch)
        return jax.ShapeDtypeStruct(shape, jnp.int16)

    return Batches(of(slices + data.centres - 1), of(data.centres))


def denoising(slices: int, *, slab: int = SLAB, edge: int = EDGE) -> Work:
    """One slice denoised by CPCA in float32, its share of a slab."""
    chosen = cpca1.get_config()
    chosen.model.slices, chosen.data.store, chosen.perceptual.network = slices, "on paper", "random"
    of = assembled(config.parse(chosen))
    stack = jax.ShapeDtypeStruct((1, slab + slices - 1, edge, edge, 1), jnp.float32)
    return count(of.networks.denoise, of.shapes().generator.params, stack) // slab
