"""Configuration at the door: an untyped ConfigDict in, frozen dataclasses out.

`configs/*.py` return an `ml_collections.ConfigDict`; `parse` turns it into an `Experiment` and
refuses unknown keys, wrong types and impossible values by name. Nothing deeper sees the
ConfigDict. The dataclasses below are the list of what can be configured; `configs/base.py` holds
the defaults with the reason of each number.
"""

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cpca_jax.errors import ConfigError

# Of the convolutions; parameters, losses and Adam are float32 always.
PRECISIONS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is trained on; see configs/base.py for each field."""

    store: str
    kernels: tuple[str, ...]
    window_hu: tuple[float, float]
    patch: int
    margin: int
    centres: int
    batch: int
    augmentation: str
    air_hu: float
    air_fraction: float
    train_split: str
    validation_split: str
    # Runs from before there were folds have none.
    folds: int = 0
    fold: int = 0


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The generator: its name, its slices, and its own fields."""

    name: str
    slices: int
    fields: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class CriticConfig:
    """The critic: its name and its own fields."""

    name: str
    fields: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the generator's terms, and the critic's penalty."""

    adversarial: float
    perceptual: float
    mse: float
    l1: float
    adversarial_form: str
    penalty: str
    penalty_weight: float
    critic_steps: int


@dataclasses.dataclass(frozen=True)
class PerceptualConfig:
    """The feature network of the perceptual term and metric."""

    network: str
    weights: str
    tap: str
    reduction: str
    norm: str


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """Adam and its schedule."""

    learning_rate: float
    critic_learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    decay: str
    half_life: float
    first_epoch: int


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Length of the run and what happens along it."""

    seed: int
    epochs: int
    steps_per_epoch: int
    steps: int
    log_every: int
    checkpoint_every: int
    keep_checkpoints: int
    keep_every: int
    validation_slices: int
    frozen: tuple[str, ...]

    @property
    def total_steps(self) -> int:
        """Generator updates of the whole run."""
        return self.steps or self.epochs * self.steps_per_epoch


@dataclasses.dataclass(frozen=True)
class ComputeConfig:
    """How a step is computed; what it computes is the same but for rounding."""

    devices: int = 0
    precision: str = "float32"
    accumulate: int = 1
    rematerialise: bool = False
    resident: bool = False


@dataclasses.dataclass(frozen=True)
class TransferConfig:
    """The 2D run to start from; empty for training from scratch."""

    run: str
    step: int
    rule: str
    fresh: tuple[str, ...]
    critic: str
    optimizer: str
    critic_warmup_steps: int


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How validation scores are defined."""

    protocol: str
    batch: int


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment, complete and checked."""

    data: DataConfig
    model: ModelConfig
    critic: CriticConfig
    loss: LossConfig
    perceptual: PerceptualConfig
    optim: OptimConfig
    train: TrainConfig
    transfer: TransferConfig
    evaluation: EvaluationConfig
    # Runs from before it could be chosen have none.
    compute: ComputeConfig = dataclasses.field(default_factory=ComputeConfig)


def parse(config: ConfigDict | Mapping[str, Any]) -> Experiment:
    """Turn a ConfigDict (or what `to_json` wrote, read back) into an Experiment.

    Raises:
        ConfigError: an unknown or missing key, a wrong type, an impossible value. The message
            names the key, the value and what would be right.
    """
    raw = _as_today(config.to_dict() if isinstance(config, ConfigDict) else config)
    experiment: Experiment = _build(Experiment, raw, "")
    for key, value, allowed, wanted in _rules(experiment):
        if not allowed:
            raise ConfigError(f"config.{key}: {value!r}; it must be {wanted}")
    return experiment


def parse_network(written: Mapping[str, Any]) -> tuple[ModelConfig, tuple[float, float]]:
    """Parse what a run says of its network alone, whatever else it was trained with.

    Args:
        written: a run's configuration, as `checkpoints.read_config` gives it.

    Returns:
        The model section, and the HU window that the network sees.

    Raises:
        ConfigError: as for `parse`.
    """
    raw = _as_today(written)
    for name in ("model", "data"):
        if not isinstance(raw.get(name), Mapping):
            raise ConfigError(f"config.{name}: missing; start from configs/base.py")
    window = _convert(tuple[float, float], raw["data"].get("window_hu"), "config.data.window_hu")
    return _build(ModelConfig, raw["model"], "model."), window


def parse_perceptual(written: Mapping[str, Any]) -> PerceptualConfig:
    """Parse what a run says of its feature network alone.

    Raises:
        ConfigError: as for `parse`.
    """
    perceptual: PerceptualConfig = _build(
        PerceptualConfig, written.get("perceptual", {}), "perceptual."
    )
    return perceptual


def to_json(experiment: Experiment) -> str:
    """The experiment as JSON text; `parse(json.loads(text))` gives it back."""
    return json.dumps(dataclasses.asdict(experiment), indent=2, sort_keys=True)


def _as_today(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration in today's form, whichever version wrote it."""
    if not {"stages", "hardest"} & {*written.get("train", ()), *written.get("data", ())}:
        return written
    from cpca_jax.runs import older

    return older.config(written)


def _build(kind: Any, raw: Mapping[str, Any], path: str) -> Any:
    """Fill a dataclass from a mapping; every key must be known and present."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    prefix = f"config.{path}"
    for key in raw:
        if key not in fields:
            raise ConfigError(f"{prefix}{key}: no such key; there are {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    values = {}
    for name in fields:
        if name not in raw and fields[name].default is not dataclasses.MISSING:
            continue
        if name not in raw:
            raise ConfigError(f"{prefix}{name}: missing; start from configs/base.py")
        hint, value = hints[name], raw[name]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{prefix}{name}: {value!r}; it must hold its own keys")
            values[name] = _build(hint, value, f"{path}{name}.")
        else:
            values[name] = _convert(hint, value, f"{prefix}{name}")
    return kind(**values)


def _convert(hint: Any, value: Any, key: str) -> Any:
    """One value to its declared type; JSON's lists become tuples, whole floats stay floats."""
    origin = typing.get_origin(hint)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{key}: {value!r}; it must be a list")
        return tuple(_convert(item, v, key) for v in value)
    if origin is not None:  # Mapping[str, Any]: the network's own fields
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key}: {value!r}; it must be a mapping")
        return {k: _tuples(v) for k, v in value.items()}
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(f"{key}: {value!r}; it must be of type {hint.__name__}")
    if hint is float and not math.isfinite(value):
        raise ConfigError(f"{key}: {value!r}; it must be finite")
    return value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


# Values that would fail late or not at all: (key, value, whether allowed, what would be).
Rule = tuple[str, Any, bool, str]


def _rules(e: Experiment) -> list[Rule]:
    d, loss, o, t, c = e.data, e.loss, e.optim, e.train, e.compute
    terms = ("adversarial", "perceptual", "mse", "l1", "penalty_weight")
    weights = {name: getattr(loss, name) for name in terms}
    return [
        *_data_rules(d),
        ("model.slices", e.model.slices, e.model.slices % 2 == 1, "odd"),
        ("loss.critic_steps", loss.critic_steps, loss.critic_steps >= 1, "1 or more"),
        *(_not_negative(f"loss.{name}", weight) for name, weight in weights.items()),
        ("loss", weights, any(w for n, w in weights.items() if n != "penalty_weight"),
         "at least one term with a weight"),
        ("optim.learning_rate", o.learning_rate, o.learning_rate > 0, "positive"),
        ("optim.critic_learning_rate", o.critic_learning_rate, o.critic_learning_rate > 0,
         "positive"),
        ("optim.beta1", o.beta1, 0 <= o.beta1 < 1, "in [0, 1)"),
        ("optim.beta2", o.beta2, 0 <= o.beta2 < 1, "in [0, 1)"),
        _not_negative("optim.weight_decay", o.weight_decay),
        ("optim.half_life", o.half_life, o.half_life > 0, "positive"),
        _not_negative("optim.first_epoch", o.first_epoch),
        ("train.steps_per_epoch", t.steps_per_epoch, t.steps_per_epoch > 0, "positive"),
        ("train.total_steps", t.total_steps, t.total_steps > 0, "positive: set epochs or steps"),
        _not_negative("train.checkpoint_every", t.checkpoint_every),
        _not_negative("train.keep_every", t.keep_every),
        ("train.keep_checkpoints", t.keep_checkpoints, t.keep_checkpoints >= 1, "1 or more"),
        ("train.log_every", t.log_every, t.log_every >= 1, "1 or more"),
        ("evaluation.batch", e.evaluation.batch, e.evaluation.batch >= 1, "1 or more"),
        ("compute.precision", c.precision, c.precision in PRECISIONS, " or ".join(PRECISIONS)),
        _not_negative("compute.devices", c.devices),
        ("compute.accumulate", c.accumulate, c.accumulate >= 1 and d.batch % c.accumulate == 0,
         f"a divisor of data.batch = {d.batch}"),
    ]  # fmt: skip


def _data_rules(d: DataConfig) -> list[Rule]:
    window = d.window_hu
    return [
        ("data.window_hu", window, len(window) == 2 and window[0] < window[-1], "[low, high] HU"),
        ("data.patch", d.patch, d.patch > 0, "positive"),
        ("data.margin", d.margin, 0 <= 2 * d.margin < d.patch, "less than half of data.patch"),
        ("data.centres", d.centres, d.centres % 2 == 1 and d.centres > 0, "odd"),
        ("data.batch", d.batch, d.batch > 0, "positive"),
        ("data.air_fraction", d.air_fraction, 0 < d.air_fraction <= 1, "in (0, 1]"),
        ("data.folds", d.folds, d.folds == 0 or d.folds >= 2, "0 for none, or 2 or more"),
        ("data.fold", d.fold, 0 <= d.fold < max(d.folds, 1), "below data.folds, from 0"),
    ]


def _not_negative(key: str, value: float) -> Rule:
    return key, value, value >= 0, "zero or more"
