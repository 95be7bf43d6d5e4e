"""What is measured: the deck's networks, objective and batches, as a training makes them."""

import dataclasses
from functools import lru_cache

import jax
import numpy as np

from benchmarks.counting import Work, count
from benchmarks.sizes import Sizes, StepCase
from cpca_jax import trees
from cpca_jax.configs import cpca1
from cpca_jax.models import vgg
from cpca_jax.runs import config, state
from cpca_jax.runs.config import Experiment
from cpca_jax.runs.state import STEP_KEY, Networks, TrainState
from cpca_jax.training import steps
from cpca_jax.training.experiment import build_networks, build_objective
from cpca_jax.training.optim import adam
from cpca_jax.training.steps import Batches, Objective, TrainStep
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
        features: the feature network, of random weights: the speed does not hang on them.
    """

    experiment: Experiment
    networks: Networks
    objective: Objective
    features: FeatureNetwork

    @property
    def draws(self) -> int:
        """Batches of one step."""
        return steps.draws_per_step(self.networks, self.experiment.loss)

    def shapes(self) -> TrainState:
        """Shapes of the state, for tracing."""
        return state.state_shapes(self.networks, adam(self.experiment.optim))

    def start(self) -> TrainState:
        """A state before the first step, always the same, and with a generator that is not dead.

        Drawn by NumPy: to initialise networks JAX would compile each of their layers by itself.
        """
        shapes = self.shapes()
        random = np.random.default_rng(_SEED)
        leaves = {name: _drawn(name, leaf, random) for name, leaf in trees.by_name(shapes).items()}
        # What the last layer is given is not negative, nor then is its answer.
        last = "generator/params/deconv8/kernel"
        started: TrainState = trees.replaced(shapes, leaves | {last: np.abs(leaves[last])})
        return started

    def batches(self, random: np.random.Generator) -> Batches:
        """Patches of one step: a ramp in HU under noise of twice the strength in one of both."""
        data, slices = self.experiment.data, self.networks.slices
        shape = (self.draws, data.batch, slices, data.patch, data.patch)
        clean = np.linspace(-250.0, 250.0, data.patch)
        full = clean + random.normal(0.0, 20.0, (*shape[:2], 1, *shape[3:]))
        low = clean + random.normal(0.0, 40.0, shape)
        return Batches(low.astype(np.int16), full.astype(np.int16))


def _drawn(name: str, leaf: jax.ShapeDtypeStruct, random: np.random.Generator) -> np.ndarray:
    """A kernel as He et al. draw it, so that no layer's answer dies or blows up; zeros else."""
    if "/params/" not in name or not name.endswith("kernel"):
        return np.zeros(leaf.shape, leaf.dtype)
    sd = np.float32(np.sqrt(2 / np.prod(leaf.shape[:-1])))
    return np.asarray(sd * random.standard_normal(leaf.shape, np.float32))


def subject(sizes: Sizes, case: StepCase, *, slices: int = 1) -> Subject:
    """The deck's experiment with this batch, number of critic updates and precision."""
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
    return assembled(config.parse(chosen), narrow=sizes.narrow)


def assembled(experiment: Experiment, *, narrow: bool = False) -> Subject:
    """What an experiment trains, with feature weights that are random and as many as the real ones.

    Args:
        experiment: its store is not looked at.
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
    """The key of every step; the step's own number is folded in by the step."""
    return jax.random.fold_in(jax.random.key(_SEED), STEP_KEY)


def train_step(subject: Subject) -> TrainStep:
    """The jitted step, as `cpca_jax.loop` jits it."""
    return _jitted(subject.networks, subject.objective)


def step_work(of: Subject, batches: Batches) -> Work:
    """FLOPs and bytes of one step; the batches' shapes are enough."""
    return count(train_step(of), of.shapes(), batches, of.features.params, step_key())


@lru_cache(maxsize=16)
def _jitted(networks: Networks, objective: Objective) -> TrainStep:
    """Kept, so that benchmarks of the same step compile it once."""
    step = steps.make_train_step(networks, objective, unroll=steps.unrolled_here())
    compiled: TrainStep = jax.jit(step, donate_argnums=0)
    return compiled


class Training:
    """A training in progress: each call is one step, on batches that are there."""

    def __init__(self, subject: Subject, batches: Batches) -> None:
        self.step, self.batches = train_step(subject), batches
        self.state = jax.device_put(subject.start())
        self.features: Params = jax.device_put(subject.features.params)

    def __call__(self) -> None:
        """One step, to its end."""
        stepped = self.step(self.state, self.batches, self.features, step_key())
        self.state = jax.block_until_ready(stepped)[0]
