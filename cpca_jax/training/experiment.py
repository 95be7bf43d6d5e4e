"""The parts of an experiment: networks, objective and data, from its parsed configuration."""

import dataclasses
from pathlib import Path

from cpca_jax.data.collections.splits import held_out
from cpca_jax.data.store.patches import AUGMENTATIONS, PatchSampler, PatchSpec
from cpca_jax.data.store.reader import PairedSeries, Store, open_store
from cpca_jax.errors import ConfigError
from cpca_jax.metrics.protocols import PROTOCOLS, Protocol
from cpca_jax.models import build_critic, build_generator
from cpca_jax.models.fields import require_fields
from cpca_jax.objectives import losses, penalties, perceptual
from cpca_jax.objectives.perceptual import FeatureSpec
from cpca_jax.registry import pick
from cpca_jax.runs.config import Experiment
from cpca_jax.runtime import addresses
from cpca_jax.training import optim, transfer
from cpca_jax.training.networks import Adversary, Networks, PatchGeometry, generator_names
from cpca_jax.training.objective import Objective
from cpca_jax.units import Window
from cpca_jax.values import require_matches
from cpca_jax.weights import feature_network
from cpca_jax.weights.feature_network import FeatureNetwork

CARRY = "carry"


@dataclasses.dataclass(frozen=True)
class Parts:
    """All parts of a training, checked; nothing has been computed yet."""

    experiment: Experiment
    networks: Networks
    objective: Objective
    features: FeatureNetwork
    protocol: Protocol
    window: Window
    store: Store
    sampler: PatchSampler
    validation: tuple[PairedSeries, ...]


def assemble(experiment: Experiment) -> Parts:
    """Build the parts; check every name, file and store that the configuration mentions.

    Raises:
        InputError: Anything is wrong; it is raised before any computation.
    """
    addresses.refuse("config.data.store", experiment.data.store)
    addresses.refuse("config.transfer.run", experiment.transfer.run)
    protocol = pick(PROTOCOLS, experiment.evaluation.protocol, "config.evaluation.protocol")
    networks = build_networks(experiment)
    store = open_store(_store_path(experiment))
    sampler, validation = _data(experiment, store)
    features = load_features(experiment)
    return Parts(
        experiment=experiment,
        networks=networks,
        objective=build_objective(experiment, features.spec),
        features=features,
        protocol=protocol,
        window=Window(*experiment.data.window_hu),
        store=store,
        sampler=sampler,
        validation=validation,
    )


def build_networks(experiment: Experiment) -> Networks:
    """Build the generator and, where the objective has an adversarial term, the critic.

    Raises:
        ConfigError: A name is in no table, a field cannot have its value, or a pattern matches no
            parameter of the generator.
    """
    check_names(experiment)
    model, data = experiment.model, experiment.data
    generator = build_generator(model.name, slices=model.slices, **model.fields)
    if data.patch < generator.smallest_edge:
        raise ConfigError(
            f"config.data.patch: {data.patch}; {model.name} needs {generator.smallest_edge} or more"
        )
    geometry = PatchGeometry(model.slices, data.patch, data.margin, data.centres)
    networks = Networks(generator, _build_adversary(experiment), geometry)
    _require_patterns(experiment, networks)
    return networks


def _require_patterns(experiment: Experiment, networks: Networks) -> None:
    """Refuse each pattern that matches no parameter."""
    frozen, fresh = experiment.train.frozen, experiment.transfer.fresh
    if frozen or fresh:
        weights, moments = generator_names(networks)
        require_matches("config.train.frozen", frozen, weights)
        require_matches("config.transfer.fresh", fresh, (*weights, *moments))


def _build_adversary(experiment: Experiment) -> Adversary | None:
    if not experiment.loss.adversarial:
        return None
    name, centres = experiment.critic.name, experiment.data.centres
    critic = build_critic(name, **experiment.critic.fields)
    if critic.slices not in {1, centres}:
        raise ConfigError(
            f"config.data.centres: {centres}, must be {critic.slices}; the critic {name} scores "
            f"{critic.slices} slices together"
        )
    return Adversary(critic, penalties.PENALTIES[experiment.loss.penalty].constraint)


def build_objective(experiment: Experiment, features: FeatureSpec) -> Objective:
    """Collect the weights, penalty, rates and window of the training step."""
    return Objective(
        loss=experiment.loss,
        optim=experiment.optim,
        perceptual=experiment.perceptual,
        features=features,
        window=Window(*experiment.data.window_hu),
        steps_per_epoch=experiment.train.steps_per_epoch,
        frozen=experiment.train.frozen,
        compute=experiment.compute,
    )


def load_features(experiment: Experiment) -> FeatureNetwork:
    """Load the feature network of the perceptual term and metric."""
    chosen = experiment.perceptual
    return feature_network.load_feature_network(
        chosen.network, tap=chosen.tap, weights=chosen.weights, seed=experiment.train.seed
    )


def check_names(e: Experiment) -> None:
    """Refuse names that are in no table, and fields that a network cannot have.

    Raises:
        ConfigError: There is such a name or field.
    """
    rules = dict.fromkeys([*transfer.INFLATIONS, transfer.FRESH])
    carried = dict.fromkeys([CARRY, transfer.FRESH])
    pick(AUGMENTATIONS, e.data.augmentation, "config.data.augmentation")
    pick(losses.ADVERSARIAL, e.loss.adversarial_form, "config.loss.adversarial_form")
    pick(penalties.PENALTIES, e.loss.penalty, "config.loss.penalty")
    pick(perceptual.REDUCTIONS, e.perceptual.reduction, "config.perceptual.reduction")
    pick(perceptual.NORMS, e.perceptual.norm, "config.perceptual.norm")
    pick(optim.SCHEDULES, e.optim.decay, "config.optim.decay")
    pick(rules, e.transfer.rule, "config.transfer.rule")
    pick(carried, e.transfer.critic, "config.transfer.critic")
    pick(carried, e.transfer.optimizer, "config.transfer.optimizer")
    require_fields("model", e.model.name, e.model.fields)
    # Without an adversarial term there is no critic; its fields may be those of another one.
    if e.loss.adversarial:
        require_fields("critic", e.critic.name, e.critic.fields)


def _store_path(experiment: Experiment) -> Path:
    if not experiment.data.store:
        raise ConfigError(
            "config.data.store: empty; give --config.data.store=STORE, made by prepare.py "
            "(without data: python prepare.py --phantom 4 --output STORE)"
        )
    return Path(experiment.data.store)


def _data(experiment: Experiment, store: Store) -> tuple[PatchSampler, tuple[PairedSeries, ...]]:
    """Return the sampler of the training series, and the validation series."""
    data = experiment.data
    spec = PatchSpec(
        size=data.patch,
        slices=experiment.model.slices,
        air_hu=data.air_hu,
        air_fraction=data.air_fraction,
        centres=data.centres,
        augmentation=data.augmentation,
    )
    train = store.split(data.train_split, kernels=data.kernels)
    validation: tuple[PairedSeries, ...] = ()
    if data.folds:
        held = held_out((series.patient for series in train), data.folds, data.fold)
        validation = tuple(series for series in train if series.patient in held)
        train = tuple(series for series in train if series.patient not in held)
    elif data.validation_split:
        # A kernel may be rare: one that only training has is no mistake.
        validation = store.split(data.validation_split, kernels=data.kernels, every=False)
    return PatchSampler(train, spec), validation
