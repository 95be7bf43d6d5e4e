"""The deck's experiments as stages: scans, trainings, table, cases, observer, sweep, report."""

import inspect
import json
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cpca_jax.errors import ConfigError
from cpca_jax.preparation.prepare import prepare_phantoms
from cpca_jax.registry import near
from cpca_jax.reproduction import inputs as inputs
from cpca_jax.reproduction import stages as run
from cpca_jax.reproduction.engine import Plan, Stage
from cpca_jax.reproduction.stages import Cohort
from cpca_jax.runs import config
from cpca_jax.runtime import plugins
from cpca_jax.training.experiment import build_networks
from cpca_jax.values import NOT_NEGATIVE, ONE_OR_MORE, SEVERAL, require_count

PHANTOMS, SCANS = "phantoms", "scans"
TABLE, CASES, DETECTABILITY = "table", "cases", "detectability"
SWEEP, REPORT = "lambda", "report"
# The real scans besides the phantoms, with their own trainings and their own table.
REAL = Cohort("real", "real-")

_KEYS = {
    "phantoms": tuple(inspect.signature(prepare_phantoms).parameters),
    "detectability": ("radius_mm", "contrast_hu", "phantoms", "slices", "rois", "readers"),
}
# Their keys that count something.
_COUNTS = {"count", "slices", "size", "phantoms", "rois", "readers"}
# Rough seconds on two cores, for the plan: for a phantom slice, a scored slice, a validation, and
# a billion multiply-accumulates of training.
_SLICE, _SCORED, _VALIDATED, _BILLION = 0.7, 1.2, 5.0, 0.02


def make_plan(deck: ConfigDict, workdir: Path) -> Plan:
    """Build the plan for a configuration of configs/deck.py.

    Args:
        deck: A configuration from `configs.deck.get_config`, perhaps changed.
        workdir: The folder for everything.

    Raises:
        ConfigError: A training or a value of the sweep is not an experiment, a row that the page
            needs is missing, or a key is unknown.
    """
    _require_possible(deck)
    names, rows = _in_order(deck), list(deck.rows)
    store = _store(deck)
    cohort = Cohort(store.name)
    stages = [store, *(_training(deck.trainings[name], name, cohort) for name in names)]
    stages += [
        _table(deck.table_slices, deck.phantoms.test_count, rows, cohort),
        _cases(deck, cohort),
        _detectability(deck, rows, cohort),
        _sweep(deck.sweep, cohort),
    ]
    if deck.real.input:
        stages += _real(deck)
    about = _about(deck)
    write = partial(run.write_report, about, names, cohort)
    needed = tuple(stage.name for stage in stages)
    stages.append(Stage(REPORT, write, needed, about, 20.0))
    return Plan(workdir, stages, origin=run.origin)


def _require_possible(deck: ConfigDict) -> None:
    """Refuse configurations now that would fail after hours."""
    for part, known in _KEYS.items():
        for key in sorted(set(deck[part]) - set(known)):
            raise ConfigError(f"config.{part}.{key}: no such key; there are {', '.join(known)}")
    _require_numbers(deck)
    _require_rows(deck)
    for name in _in_order(deck):
        _parsed(deck.trainings[name].config)
    for value in deck.sweep["values"]:
        _parsed(run.swept(deck.sweep, value, fold=0))


def _require_numbers(deck: ConfigDict) -> None:
    require_count("config.table_slices", deck.table_slices, NOT_NEGATIVE)
    require_count("config.sweep.folds", deck.sweep.folds, SEVERAL)
    for part in _KEYS:
        for key in _COUNTS & set(deck[part]):
            require_count(f"config.{part}.{key}", deck[part][key], ONE_OR_MORE)


def _require_rows(deck: ConfigDict) -> None:
    for name in deck.rows:
        if name not in deck.trainings:
            there = ", ".join(deck.trainings)
            raise ConfigError(
                f"config.rows: {name} is no training; there are {there}{near(name, deck.trainings)}"
            )
    needed = ["CPCA-1", *(f"{kind}-{i}" for i in deck.deep for kind in ("CPCA", "CPCA_TF"))]
    for name in (*needed, *deck.cases):
        if name not in deck.rows:
            raise ConfigError(f"config.rows: {name} is missing; curves or cases show it")


def _parsed(chosen: ConfigDict) -> None:
    """Refuse what a training would refuse once it is its turn."""
    chosen = chosen.copy_and_resolve_references()
    chosen.data.store = "later"
    build_networks(config.parse(chosen))


def _store(deck: ConfigDict) -> Stage:
    """Return the stage of the phantoms, or of the scans that the configuration names."""
    if deck.scans.input:
        return _prepared(SCANS, deck.scans.to_dict())
    phantoms = deck.phantoms.to_dict()
    seconds = _SLICE * phantoms["count"] * phantoms["slices"]
    return Stage(PHANTOMS, partial(run.make_phantoms, phantoms), (), phantoms, seconds)


def _prepared(name: str, chosen: dict[str, Any]) -> Stage:
    """Return the stage of a store of real scans; other files in the folder give another stage."""
    settings = chosen | {"files": inputs.scans_digest(chosen["input"])}
    return Stage(name, partial(run.prepare_real, chosen), (), settings, 600.0)


def _training(training: ConfigDict, name: str, cohort: Cohort) -> Stage:
    chosen, source = training.config, training.source
    needs = (cohort.store, cohort.training(source)) if source else (cohort.store,)
    train = partial(run.train, name, chosen, source, cohort)
    settings = _settings(chosen) | _outside(chosen)
    return Stage(cohort.training(name), train, needs, settings, _seconds(chosen))


def _table(slices: int, patients: int, rows: list[str], cohort: Cohort) -> Stage:
    settings = {"rows": rows, "slices": slices}
    seconds = _SCORED * (len(rows) + 1) * patients * (slices or 20)
    score = partial(run.score, rows, slices, cohort)
    needs = (cohort.store, *map(cohort.training, rows))
    return Stage(cohort.stage(TABLE), score, needs, settings, seconds)


def _cases(deck: ConfigDict, cohort: Cohort) -> Stage:
    rows = list(deck.cases)
    needs = (cohort.store, *map(cohort.training, rows))
    return Stage(CASES, partial(run.draw_cases, rows, cohort), needs, {"rows": rows}, 30.0)


def _detectability(deck: ConfigDict, rows: list[str], cohort: Cohort) -> Stage:
    chosen = deck.detectability.to_dict()
    # Lesions are scanned like the training phantoms, with neighbours for the deepest network.
    chosen |= {key: deck.phantoms[key] for key in ("dose", "interval_mm", "size")}
    chosen["margin"] = max(deck.trainings[row].config.model.slices for row in rows) // 2
    measure = partial(run.measure, chosen, rows, cohort)
    seconds = _SCORED * 2 * len(rows) * chosen["phantoms"] * chosen["slices"]
    needs = tuple(map(cohort.training, rows))
    return Stage(DETECTABILITY, measure, needs, chosen | {"rows": rows}, seconds)


def _sweep(sweep: ConfigDict, cohort: Cohort) -> Stage:
    seconds = len(sweep["values"]) * sweep.folds * _seconds(sweep.config)
    train = partial(run.sweep, sweep, cohort)
    settings = _settings(sweep) | _outside(sweep.config)
    return Stage(SWEEP, train, (cohort.store,), settings, seconds)


def _real(deck: ConfigDict) -> list[Stage]:
    """Return the stages of the same 2D trainings on real scans, and of their table."""
    chosen = deck.real.to_dict()
    rows = list(chosen.pop("rows"))
    stages = [_prepared(REAL.store, chosen)]
    stages += [_training(deck.trainings[row], row, REAL) for row in rows]
    return [*stages, _table(0, 1, rows, REAL)]


def _in_order(deck: ConfigDict) -> list[str]:
    """Return the trainings in the order of the page, each after the one that it starts from."""
    names: dict[str, None] = {}
    for name in (*deck.rows, *deck.questions):
        if deck.trainings[name].source:
            names.setdefault(deck.trainings[name].source)
        names.setdefault(name)
    return list(names)


def _about(deck: ConfigDict) -> dict[str, Any]:
    """Return the facts about the configuration that the page states."""
    lists = {name: list(deck[name]) for name in ("rows", "deep", "questions")}
    validated = deck.trainings["CPCA-1"].config.train.validation_slices
    observer = {key: deck.detectability[key] for key in ("phantoms", "rois", "readers")}
    return lists | observer | {"scale": deck.scale, "first": deck.first, "validated": validated}


def _outside(training: ConfigDict) -> dict[str, str]:
    """Return the digests of what a training takes from outside its configuration.

    Without plug-ins there is no entry for them, so that stages from before it had one stay done.
    """
    plugged = plugins.source_digest()
    found = {"features": inputs.features_digest(training)}
    return found | {"plugin_sources": plugged} if plugged else found


def _settings(chosen: ConfigDict) -> dict[str, Any]:
    """Return a configuration as JSON values."""
    settings: dict[str, Any] = json.loads(chosen.to_json_best_effort())
    return settings


def _seconds(chosen: ConfigDict) -> float:
    """Estimate very roughly the seconds of a training on two cores, from its network's size."""
    steps = chosen.train.steps or chosen.train.epochs * chosen.train.steps_per_epoch
    passes = 3 + (chosen.loss.critic_steps if chosen.loss.adversarial else 0)
    # Wide layers run three times as fast as narrow ones: the 1.8 M of RED-CNN count as 0.6 M.
    weights = {"red_cnn": 6e5, "gan3d": 5e5, "cascade": 3e5}.get(chosen.model.name, 6e4)
    each = passes * weights + (6e5 if chosen.loss.perceptual else 0)  # VGG16 to relu3_3, thrice
    pixels = chosen.data.batch * chosen.data.patch**2
    seconds: float = steps * each * pixels * _BILLION / 1e9 + _VALIDATED * (chosen.train.epochs + 4)
    return seconds
