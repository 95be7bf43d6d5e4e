"""Assemble the training that is measured: the paper's networks, objective and batches."""

import dataclasses
from collections.abc import Callable
from functools import lru_cache

import jax
import numpy as np
from jax import Array

from benchmarks.measuring.work import Work, count
from benchmarks.subjects.sizes import Sizes, StepCase
from cpca_jax import trees
from cpca_jax.configs import cpca1
from cpca_jax.models import vgg
from cpca_jax.runs import config
from cpca_jax.runs.config import Experiment
from cpca_jax.runs.state import STEP_KEY, TrainState
from cpca_jax.training import steps
from cpca_jax.training.experiment import build_networks, build_objective
from cpca_jax.training.networks import Networks, state_shapes
from cpca_jax.training.objective import Objective
from cpca_jax.training.steps import Batches, TrainStep
from cpca_jax.types import Params, RandomKey
from cpca_jax.weights import feature_network
from cpca_jax.weights.feature_network import FeatureNetwork

_SEED = 20171119
# For the tests: few maps, and features from the second block.
_NARROW, _SHALLOW = vgg.Architecture("vgg19", (2, 2, 4, 4, 4), (2, 2, 2, 2, 2)), "relu2_1"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A training that could begin.

    Attributes:
        experiment: its configuration.
        networks: generator and critic.
        objective: weights, penalty, rates.
        features: the feature network, with random weights: the speed does not depend on them.
    """

    experiment: Experiment
    networks: Networks
    objective: Objective
    features: FeatureNetwork

    @property
    def slices(self) -> int:
        """The number of input slices for one denoised slice."""
        return self.networks.geometry.slices

    @property
    def denoise(self) -> Callable[[Params, Array], Array]:
        """The generator: parameters and slabs (batch, z, y, x, 1) to their denoised centres."""
        return self.networks.denoise

    @property
    def draws(self) -> int:
        """The number of batches of one step."""
        return steps.draws_per_step(self.networks, self.experiment.loss)

    def shapes(self) -> TrainState:
        """Return the shapes of the state, for tracing."""
        return state_shapes(self.networks, self.objective.optimisers)

    def start(self) -> TrainState:
        """Return the state before the first step: always the same, the generator's output above 0.

        NumPy draws it, because JAX would compile each layer's initialisation by itself.
        """
        shapes = self.shapes()
        random = np.random.default_rng(_SEED)
        leaves = {name: _drawn(name, leaf, random) for name, leaf in trees.by_name(shapes).items()}
        # The last layer's input is not negative, so with these weights its output is not either.
        last = "generator/params/deconv8/kernel"
        started: TrainState = trees.replaced(shapes, leaves | {last: np.abs(leaves[last])})
        return started

    def batches(self, random: np.random.Generator) -> Batches:
        """Return patches of one step in HU: a ramp with noise, twice as strong in the low dose."""
        data = self.experiment.data
        shape = (self.draws, data.batch, self.slices, data.patch, data.patch)
        clean = np.linspace(-250.0, 250.0, data.patch)
        full = clean + random.normal(0.0, 20.0, (*shape[:2], 1, *shape[3:]))
        low = clean + random.normal(0.0, 40.0, shape)
        return Batches(low.astype(np.int16), full.astype(np.int16))


def _drawn(name: str, leaf: jax.ShapeDtypeStruct, random: np.random.Generator) -> np.ndarray:
    """Return a kernel of He et al.'s variance, which keeps activations finite; zeros otherwise."""
    if "/params/" not in name or not name.endswith("kernel"):
        return np.zeros(leaf.shape, leaf.dtype)
    sd = np.float32(np.sqrt(2 / np.prod(leaf.shape[:-1])))
    return np.asarray(sd * random.standard_normal(leaf.shape, np.float32))


def make_subject(sizes: Sizes, case: StepCase, *, slices: int = 1) -> Subject:
    """Return the training of CPCA-`slices` with a batch, number of critic updates and precision."""
    chosen = cpca1.get_config()
    chosen.data.batch, chosen.data.patch = case.batch, sizes.patch
    chosen.loss.critic_steps = case.critic_steps
    chosen.model.slices = slices
    chosen.perceptual.network = "random"
    if sizes.narrow:
        chosen.perceptual.tap = _SHALLOW
        chosen.model.fields.features = 4
        chosen.critic.fields.features = (2, 2, 4, 4, 4, 4)
        chosen.critic.fields.dense = 8
    chosen.compute.precision = case.precision
    return assemble(config.parse(chosen), narrow=sizes.narrow)


def assemble(experiment: Experiment, *, narrow: bool = False) -> Subject:
    """Return the training of an experiment, with a feature network of random weights.

    Args:
        experiment: its configuration; its store is not read.
        narrow: the feature network has few maps.
    """
    features = _features(experiment.perceptual.tap, narrow=narrow)
    networks = build_networks(experiment).computing_in(experiment.compute.precision)
    return Subject(experiment, networks, build_objective(experiment, features.spec), features)


@lru_cache(maxsize=4)
def _features(tap: str, *, narrow: bool) -> FeatureNetwork:
    architecture = _NARROW if narrow else None
    return feature_network.load_feature_network("random", tap=tap, architecture=architecture)


def step_key() -> RandomKey:
    """Return the key of every step; the step itself folds in its number."""
    return jax.random.fold_in(jax.random.key(_SEED), STEP_KEY)


def train_step(subject: Subject) -> TrainStep:
    """Return the jitted step, jitted as in `cpca_jax.training.loop`."""
    return _jitted(subject.networks, subject.objective)


def step_work(subject: Subject, batches: Batches) -> Work:
    """Return the FLOPs and bytes of one step; the shapes of the batches are enough."""
    shapes = subject.shapes()
    return count(train_step(subject), shapes, batches, subject.features.params, step_key())


@lru_cache(maxsize=16)
def _jitted(networks: Networks, objective: Objective) -> TrainStep:
    """Return the jitted step, cached so that benchmarks of the same step compile it once."""
    step = steps.make_train_step(networks, objective, unroll=steps.unrolled_here())
    compiled: TrainStep = jax.jit(step, donate_argnums=0)
    return compiled


class Training:
    """A training in progress: each call is one step, on batches that are already drawn."""

    def __init__(self, subject: Subject, batches: Batches) -> None:
        self.step, self.batches = train_step(subject), batches
        self.state = jax.device_put(subject.start())
        self.features: Params = jax.device_put(subject.features.params)

    def __call__(self) -> None:
        """Take one step and wait for its end."""
        stepped = self.step(self.state, self.batches, self.features, step_key())
        self.state = jax.block_until_ready(stepped)[0]
