"""The deck's experiments as stages: phantoms, trainings, table, detectability, report."""

import dataclasses
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cpca_jax import comparison, config, logs, reproduction_report, stagewise
from cpca_jax.data.lesions import LesionTask
from cpca_jax.data.matched_scans import phantom_scans
from cpca_jax.denoiser import load_run
from cpca_jax.detectability import measure_detectability
from cpca_jax.errors import InputError
from cpca_jax.preparation import prepare_phantoms
from cpca_jax.stages import Plan, Stage

Found = Mapping[str, Path]

STORE, TABLE, DETECTABILITY, REPORT = "phantoms", "table", "detectability", "report"
# Of the observer's phantoms, which no training has seen.
_OBSERVER_SEED = 977
# Rough seconds on two cores, for the plan: of a phantom slice, a training step, a scored slice.
_SLICE, _STEP, _SCORED = 0.8, 0.5, 1.0


def make_plan(deck: ConfigDict, workdir: Path) -> Plan:
    """The stages of a configuration of configs/deck.py.

    Args:
        deck: what `configs.deck.get_config` gives, perhaps changed.
        workdir: folder for everything.

    Raises:
        ConfigError: a training that starts from one that does not come before it.
    """
    phantoms, compared = deck.phantoms.to_dict(), list(deck.rows)
    names = _in_order(deck)
    slices = phantoms["count"] * phantoms["slices"]
    stages = [Stage(STORE, partial(_phantoms, phantoms), (), phantoms, _SLICE * slices)]
    for name in names:
        chosen, source = deck.trainings[name].config, deck.trainings[name].source
        needs = (STORE, stage_name(source)) if source else (STORE,)
        steps = chosen.train.steps or chosen.train.epochs * chosen.train.steps_per_epoch
        run = partial(_train, name, chosen, source)
        stages.append(Stage(stage_name(name), run, needs, _settings(chosen), _STEP * steps))
    trained = tuple(map(stage_name, compared))
    scored = _SCORED * len(compared) * phantoms["slices"]
    stages.append(
        Stage(TABLE, partial(_table, compared), (STORE, *trained), {"rows": compared}, scored)
    )
    found = deck.detectability.to_dict()
    measure = partial(_detectability, found, compared)
    seconds = _SCORED * 3 * len(compared) * found["phantoms"] * found["slices"]
    stages.append(Stage(DETECTABILITY, measure, trained, found, seconds))
    everything = (TABLE, DETECTABILITY, *map(stage_name, names))
    write = partial(_report, names, list(deck.deep), list(deck.questions))
    stages.append(Stage(REPORT, write, everything, {"questions": list(deck.questions)}, 20.0))
    return Plan(workdir, stages)


def _in_order(deck: ConfigDict) -> list[str]:
    """The trainings as the page wants them, each after the one that it starts from."""
    names: dict[str, None] = {}
    for name in (*deck.rows, *deck.questions):
        if deck.trainings[name].source:
            names.setdefault(deck.trainings[name].source)
        names.setdefault(name)
    return list(names)


def stage_name(training: str) -> str:
    """The stage that a training is; a name that may be a folder's."""
    return "train-" + training.replace(", ", "-").replace(" ", "-")


def _settings(chosen: ConfigDict) -> dict[str, Any]:
    """A training's configuration as JSON holds it."""
    settings: dict[str, Any] = json.loads(chosen.to_json_best_effort())
    return settings


def _phantoms(phantoms: dict[str, Any], folder: Path, found: Found) -> None:
    prepare_phantoms(**phantoms, output=folder / "store", say=logs.say, track=logs.track)


def _train(name: str, chosen: ConfigDict, source: str, folder: Path, found: Found) -> None:
    chosen = chosen.copy_and_resolve_references()
    chosen.data.store = str(found[STORE] / "store")
    if source:
        chosen.transfer.run = str(found[stage_name(source)] / source)
    experiment = config.parse(chosen)
    state = stagewise.train(experiment, folder / name)
    if int(state.step) < experiment.train.total_steps:
        raise InputError(f"{name}: stopped at step {int(state.step)}; run it again to go on")


def _runs(names: list[str], found: Found) -> list[Path]:
    return [found[stage_name(name)] / name for name in names]


def _table(names: list[str], folder: Path, found: Found) -> None:
    comparison.compare(_runs(names, found), found[STORE] / "store", folder, comparison.Choices())


def _detectability(chosen: dict[str, Any], names: list[str], folder: Path, found: Found) -> None:
    tasks = [
        LesionTask(radius, contrast)
        for radius in chosen["radius_mm"]
        for contrast in chosen["contrast_hu"]
    ]
    shape = {key: chosen[key] for key in ("phantoms", "slices", "size", "rois")}
    rows = measure_detectability(
        [load_run(run) for run in _runs(names, found)],
        phantom_scans(tasks, **shape, seed=_OBSERVER_SEED),
        readers=chosen["readers"],
    )
    written = [
        {
            "method": row.method,
            **dataclasses.asdict(row.task),
            "d_prime": dataclasses.asdict(row.found.d_prime),
            "auc": dataclasses.asdict(row.found.auc),
            "gain": dataclasses.asdict(row.gain),
        }
        for row in rows
    ]
    (folder / "detectability.json").write_text(json.dumps(written, indent=1) + "\n")


def _report(
    names: list[str], deep: list[int], questions: list[str], folder: Path, found: Found
) -> None:
    runs = dict(zip(names, _runs(names, found), strict=True))
    reproduction_report.write(
        folder,
        runs=runs,
        deep=deep,
        questions=questions,
        table=found[TABLE],
        detectability=found[DETECTABILITY] / "detectability.json",
    )
