"""How much there is to compute, counted: of trainings as configured, and of denoising."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.counting import Work, count
from configs import deck
from cpca_jax import config, pretrained, state, steps, trees
from cpca_jax.config import Experiment
from cpca_jax.experiment import build_networks, build_objective
from cpca_jax.optim import adam
from cpca_jax.pretrained import FeatureNetwork
from cpca_jax.stagewise import stage_experiment
from cpca_jax.steps import Batches

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
    networks = build_networks(experiment)
    features = _features(experiment.perceptual.tap)
    objective = build_objective(experiment, features.spec)
    shapes = state.state_shapes(networks, adam(experiment.optim))
    step = steps.make_train_step(networks, objective, unroll=True)
    draws = steps.draws_per_step(networks, experiment.loss)
    work = count(step, shapes, _batches(experiment, draws), features.params, jax.random.key(0))
    exchanged = _bytes(shapes.generator.params)
    if shapes.critic is not None:
        exchanged += (draws - 1) * _bytes(shapes.critic.params)
    return Job(name, experiment.train.total_steps, work, exchanged, after)


def _batches(experiment: Experiment, draws: int) -> Batches:
    data, slices = experiment.data, experiment.model.slices

    def of(depth: int) -> jax.ShapeDtypeStruct:
        shape = (draws, data.batch, depth, data.patch, data.patch)
        return jax.ShapeDtypeStruct(shape, jnp.int16)

    return Batches(of(slices + data.centres - 1), of(data.centres))


def _bytes(params: object) -> int:
    return sum(4 * leaf.size for leaf in trees.by_name(params).values())


@lru_cache(maxsize=4)
def _features(tap: str) -> FeatureNetwork:
    return pretrained.load_feature_network("random", tap=tap)


def denoising(slices: int, *, slab: int = SLAB, edge: int = EDGE) -> Work:
    """One slice denoised by CPCA in float32, its share of a slab."""
    chosen = deck.get_config("full").trainings["CPCA-1"].config.copy_and_resolve_references()
    chosen.model.slices, chosen.data.store = slices, "on paper"
    networks = build_networks(config.parse(chosen))
    params = state.state_shapes(networks, adam(config.parse(chosen).optim)).generator.params
    stack = jax.ShapeDtypeStruct((1, slab + slices - 1, edge, edge, 1), jnp.float32)
    return count(networks.denoise, params, stack) // slab
