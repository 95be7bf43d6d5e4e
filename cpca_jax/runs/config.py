"""Parsing of a configuration: an untyped ConfigDict comes in, frozen dataclasses go out.

`configs/*.py` return an `ml_collections.ConfigDict`; `parse` turns it into an `Experiment` and
refuses unknown keys, wrong types and impossible values by name. No module behind it sees the
ConfigDict. `settings` lists everything that can be configured.
"""

import dataclasses
import json
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
from cpca_jax.values import INTEGER, SEED, Bound, convert, require

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
    "parse_run",
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
    experiment = parse_run(config.to_dict() if isinstance(config, ConfigDict) else config)
    for key, value, bound in _bounds(experiment, ""):
        require(f"config.{key}", value, bound)
    for key, value, allowed, wanted in _rules(experiment):
        if not allowed:
            raise ConfigError(f"config.{key}: {value!r}; it must be {wanted}")
    return experiment


def parse_run(written: Mapping[str, Any]) -> Experiment:
    """Parse the configuration that a run was trained with, whatever today's bounds are.

    Raises:
        ConfigError: an unknown or missing key, or a wrong type.
    """
    experiment: Experiment = _build(Experiment, _as_today(written), "")
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
    groups = [written.get(name) for name in ("train", "data")]
    keys = {key for group in groups if isinstance(group, Mapping) for key in group}
    if not {"stages", "hardest"} & keys:
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
            values[name] = convert(hint, value, f"{prefix}{name}")
    return kind(**values)


# A check of a value that would fail late or not at all: key, value, whether it is allowed, and
# the words that complete "it must be ...".
Rule = tuple[str, Any, bool, str]


def _bounds(part: Any, path: str) -> Iterator[tuple[str, Any, Bound]]:
    """Yield the bounds that each field declares for itself, and that of every whole number."""
    for field in dataclasses.fields(part):
        value, bound = getattr(part, field.name), bounds.about(field).bound
        if dataclasses.is_dataclass(value):
            yield from _bounds(value, f"{path}{field.name}.")
            continue
        if type(value) is int and bound is not SEED:
            yield f"{path}{field.name}", value, INTEGER
        if bound is not None:
            yield f"{path}{field.name}", value, bound


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
        ("train.total_steps", t.total_steps, t.total_steps < 2**31, "below 2147483648"),
        ("compute.accumulate", c.accumulate, d.batch % c.accumulate == 0,
         f"a divisor of data.batch = {d.batch}"),
    ]  # fmt: skip
