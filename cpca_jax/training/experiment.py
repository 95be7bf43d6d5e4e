"""The parts of an experiment: from the parsed configuration to networks, objective and data."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn

from cpca_jax.data.collections.splits import held_out
from cpca_jax.data.store.patches import AUGMENTATIONS, PatchSampler, PatchSpec
from cpca_jax.data.store.reader import PairedSeries, Store, open_store, with_kernels
from cpca_jax.errors import ConfigError
from cpca_jax.metrics.protocols import Protocol, get_protocol
from cpca_jax.models import build_critic, build_generator
from cpca_jax.objectives import losses, penalties, perceptual
from cpca_jax.objectives.perceptual import FeatureSpec
from cpca_jax.runs.config import Experiment
from cpca_jax.runs.state import Networks
from cpca_jax.runtime import addresses
from cpca_jax.training import optim, transfer
from cpca_jax.training.steps import Objective
from cpca_jax.units import Window
from cpca_jax.weights import feature_network
from cpca_jax.weights.feature_network import FeatureNetwork

CARRY_CHOICES = ("carry", "fresh")


@dataclasses.dataclass(frozen=True)
class Parts:
    """Everything a training is made of, checked; nothing has been computed yet."""

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
    """Build the parts; every name, file and store that the configuration mentions is checked.

    Raises:
        InputError: whatever is wrong, before any computation.
    """
    addresses.refuse("config.data.store", experiment.data.store)
    addresses.refuse("config.transfer.run", experiment.transfer.run)
    protocol = get_protocol(experiment.evaluation.protocol)
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
    """Generator and, where the objective has an adversarial term, the critic."""
    _check_names(experiment)
    model = experiment.model
    generator = build_generator(model.name, slices=model.slices, **model.fields)
    smallest = getattr(generator, "smallest_edge", 1)
    if experiment.data.patch < smallest:
        raise ConfigError(
            f"config.data.patch: {experiment.data.patch}; {model.name} needs {smallest} or more"
        )
    return Networks(
        generator,
        _build_critic(experiment),
        slices=model.slices,
        patch=experiment.data.patch,
        margin=experiment.data.margin,
        centres=experiment.data.centres,
        constraint=penalties.PENALTIES[experiment.loss.penalty].constraint,
    )


def _build_critic(experiment: Experiment) -> nn.Module | None:
    if not experiment.loss.adversarial:
        return None
    name, centres = experiment.critic.name, experiment.data.centres
    critic = build_critic(name, **experiment.critic.fields)
    together = getattr(critic, "slices", 1)
    if together not in {1, centres}:
        raise ConfigError(
            f"config.data.centres: {centres}; the critic {name} scores {together} slices together"
        )
    return critic


def build_objective(experiment: Experiment, features: FeatureSpec) -> Objective:
    """Weights, penalty, rates and window of the training step."""
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
    """The feature network of the perceptual term and metric."""
    chosen = experiment.perceptual
    return feature_network.load_feature_network(
        chosen.network, tap=chosen.tap, weights=chosen.weights, seed=experiment.train.seed
    )


def _check_names(e: Experiment) -> None:
    require_name("data.augmentation", e.data.augmentation, AUGMENTATIONS)
    require_name("loss.adversarial_form", e.loss.adversarial_form, losses.ADVERSARIAL)
    require_name("loss.penalty", e.loss.penalty, penalties.PENALTIES)
    require_name("perceptual.reduction", e.perceptual.reduction, perceptual.REDUCTIONS)
    require_name("perceptual.norm", e.perceptual.norm, perceptual.NORMS)
    require_name("optim.decay", e.optim.decay, optim.SCHEDULES)
    rules = {**transfer.INFLATIONS, transfer.FRESH: None}
    require_name("transfer.rule", e.transfer.rule, rules)
    require_name("transfer.critic", e.transfer.critic, dict.fromkeys(CARRY_CHOICES))
    require_name("transfer.optimizer", e.transfer.optimizer, dict.fromkeys(CARRY_CHOICES))
    for part, fields in (("model", e.model.fields), ("critic", e.critic.fields)):
        if "dtype" in fields:  # a training would not heed it, and say so nowhere
            raise ConfigError(
                f"config.{part}.fields.dtype: {fields['dtype']}; it must be left out, "
                "config.compute.precision says what a training computes in"
            )


def _store_path(experiment: Experiment) -> Path:
    if not experiment.data.store:
        raise ConfigError(
            "config.data.store: empty; give --config.data.store=STORE, made by prepare.py "
            "(without data: python prepare.py --phantom 4 --output STORE)"
        )
    return Path(experiment.data.store)


def _data(experiment: Experiment, store: Store) -> tuple[PatchSampler, tuple[PairedSeries, ...]]:
    data = experiment.data
    spec = PatchSpec(
        size=data.patch,
        slices=experiment.model.slices,
        air_hu=data.air_hu,
        air_fraction=data.air_fraction,
        centres=data.centres,
        augmentation=data.augmentation,
    )
    train = with_kernels(store.split(data.train_split), data.kernels)
    validation: tuple[PairedSeries, ...] = ()
    if data.folds:
        held = held_out((series.patient for series in train), data.folds, data.fold)
        validation = tuple(series for series in train if series.patient in held)
        train = tuple(series for series in train if series.patient not in held)
    elif data.validation_split:
        validation = with_kernels(store.split(data.validation_split), data.kernels)
    return PatchSampler(train, spec), validation


def require_name(key: str, name: str, table: Mapping[str, Callable[..., Any] | Any]) -> None:
    """Refuse a name that no row of a table has.

    Raises:
        ConfigError: names the key, the value and the rows.
    """
    if name not in table:
        raise ConfigError(f"config.{key}: '{name}' is not one of {', '.join(table)}")
