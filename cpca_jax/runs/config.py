"""Parsing of a configuration: an untyped ConfigDict comes in, frozen dataclasses go out.

`configs/*.py` return an `ml_collections.ConfigDict`; `parse` turns it into an `Experiment` and
refuses unknown keys, wrong types and impossible values by name. No module behind it sees the
ConfigDict. `settings` lists everything that can be configured.
"""

import dataclasses
import json
import math
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from cpca_jax.errors import ConfigError
from cpca_jax.registry import near
from cpca_jax.runs import bounds
from cpca_jax.runs.settings import (
    PRECISIONS,
    ComputeConfig,
    CriticConfig,
    DataConfig,
    EvaluationConfig,
    Experiment,
    LossConfig,
    ModelConfig,
    OptimConfig,
    PerceptualConfig,
    TrainConfig,
    TransferConfig,
)

__all__ = [
    "PRECISIONS",
    "ComputeConfig",
    "CriticConfig",
    "DataConfig",
    "EvaluationConfig",
    "Experiment",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "PerceptualConfig",
    "TrainConfig",
    "TransferConfig",
    "defaults",
    "parse",
    "parse_perceptual",
    "to_json",
]


def defaults() -> ConfigDict:
    """Return every field with its default; `fields` may be extended by a network's own fields."""
    config = ConfigDict(dataclasses.asdict(Experiment()))
    for part in (config.model, config.critic):
        part.fields.unlock()
    return config


def parse(config: ConfigDict | Mapping[str, Any]) -> Experiment:
    """Turn a ConfigDict, or the parsed JSON of `to_json`, into an Experiment.

    Raises:
        ConfigError: an unknown or missing key, a wrong type, an impossible value. The message
            names the key, the value and what would be right.
    """
    raw = _as_today(config.to_dict() if isinstance(config, ConfigDict) else config)
    experiment: Experiment = _build(Experiment, raw, "")
    for key, value, allowed, wanted in (*_bounds(experiment, ""), *_rules(experiment)):
        if not allowed:
            raise ConfigError(f"config.{key}: {value!r}; it must be {wanted}")
    return experiment


def parse_perceptual(written: Mapping[str, Any]) -> PerceptualConfig:
    """Parse only the part of a run's configuration that describes its feature network.

    Raises:
        ConfigError: as for `parse`.
    """
    perceptual: PerceptualConfig = _build(
        PerceptualConfig, written.get("perceptual", {}), "perceptual."
    )
    return perceptual


def to_json(experiment: Experiment) -> str:
    """Return the experiment as JSON text; `parse(json.loads(text))` gives it back."""
    return json.dumps(dataclasses.asdict(experiment), indent=2, sort_keys=True)


def _as_today(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration in today's form, whichever version wrote it."""
    if not {"stages", "hardest"} & {*written.get("train", ()), *written.get("data", ())}:
        return written
    from cpca_jax.runs import older

    return older.config(written)


def _build(kind: Any, raw: Mapping[str, Any], path: str) -> Any:
    """Fill a dataclass from a mapping; keys must be known, and present unless they are newer."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    prefix = f"config.{path}"
    for key in raw:
        if key not in fields:
            raise ConfigError(
                f"{prefix}{key}: no such key; there are {', '.join(fields)}{near(key, fields)}"
            )
    hints = typing.get_type_hints(kind)
    values = {}
    for name, field in fields.items():
        hint, is_group = hints[name], dataclasses.is_dataclass(hints[name])
        if name not in raw and bounds.about(field).added:
            continue
        if name not in raw and not is_group:
            raise ConfigError(f"{prefix}{name}: missing; start from configs/base.py")
        value = raw.get(name, {})
        if is_group:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{prefix}{name}: {value!r}; it must hold its own keys")
            values[name] = _build(hint, value, f"{path}{name}.")
        else:
            values[name] = _convert(hint, value, f"{prefix}{name}")
    return kind(**values)


def _convert(hint: Any, value: Any, key: str) -> Any:
    """Convert one value to its declared type; lists become tuples, whole floats stay floats."""
    origin = typing.get_origin(hint)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{key}: {value!r}; it must be a list")
        return tuple(_convert(item, v, key) for v in value)
    if origin is not None:  # a Mapping[str, Any], which holds the network's own fields
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


# A check of a value that would fail late or not at all: key, value, whether it is allowed, and
# the words that complete "it must be ...".
Rule = tuple[str, Any, bool, str]


def _bounds(part: Any, path: str) -> Iterator[Rule]:
    """Yield the bounds that each field declares for itself."""
    for field in dataclasses.fields(part):
        value, bound = getattr(part, field.name), bounds.about(field).bound
        if dataclasses.is_dataclass(value):
            yield from _bounds(value, f"{path}{field.name}.")
        elif bound is not None:
            yield f"{path}{field.name}", value, bound.holds(value), bound.wanted


def _rules(e: Experiment) -> list[Rule]:
    """Return the rules across fields."""
    d, loss, t, c = e.data, e.loss, e.train, e.compute
    terms = ("adversarial", "perceptual", "mse", "l1")
    weights = {name: getattr(loss, name) for name in terms}
    return [
        ("data.margin", d.margin, 2 * d.margin < d.patch, "less than half of data.patch"),
        ("data.fold", d.fold, d.fold < max(d.folds, 1), "below data.folds, from 0"),
        ("loss", weights, any(weights.values()), "at least one term with a weight"),
        ("train.total_steps", t.total_steps, t.total_steps > 0, "positive: set epochs or steps"),
        ("compute.accumulate", c.accumulate, d.batch % c.accumulate == 0,
         f"a divisor of data.batch = {d.batch}"),
    ]  # fmt: skip
