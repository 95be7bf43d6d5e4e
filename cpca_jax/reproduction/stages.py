"""The work of each stage of a reproduction, in a folder of its own."""

import dataclasses
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from cpca_jax.data.collections.sources import Inputs
from cpca_jax.data.collections.splits import SplitChoice
from cpca_jax.data.store.reader import open_store
from cpca_jax.denoising.denoiser import load_run
from cpca_jax.errors import InputError
from cpca_jax.evaluation import comparison
from cpca_jax.evaluation.case_studies import draw_case_studies
from cpca_jax.evaluation.detectability import measure_detectability
from cpca_jax.metrics.protocols import get_protocol
from cpca_jax.preparation.prepare import prepare_phantoms, prepare_scans
from cpca_jax.reproduction import report
from cpca_jax.reproduction.engine import duration, read_record
from cpca_jax.runs import config
from cpca_jax.runtime import files, logs, run_log
from cpca_jax.simulation.lesions import LesionTask
from cpca_jax.simulation.matched_scans import phantom_scans
from cpca_jax.training import procedures

Found = Mapping[str, Path]

# The seed of the observer's phantoms, which no training has seen.
_OBSERVER_SEED = 977


@dataclasses.dataclass(frozen=True)
class Cohort:
    """A group of patients, with the stages on them.

    Attributes:
        store: The stage that makes their store.
        prefix: The prefix of the names of all other stages on them.
    """

    store: str
    prefix: str = ""

    def stage(self, name: str) -> str:
        """Return the name of the stage `name` on these patients."""
        return self.prefix + name

    def training(self, name: str) -> str:
        """Return the name of the stage of a training, which may serve as the name of a folder."""
        return self.stage("train-" + name.replace(", ", "-").replace(" ", "-"))

    def folder(self, found: Found) -> Path:
        """Return the folder of their store."""
        return found[self.store] / "store"

    def runs(self, names: Sequence[str], found: Found) -> list[Path]:
        """Return the folders of trainings on them."""
        return [found[self.training(name)] / name for name in names]


def make_phantoms(phantoms: dict[str, Any], folder: Path, found: Found) -> None:
    """Make a store of phantoms."""
    if not _made_before(folder):
        prepare_phantoms(**phantoms, output=folder / "store", say=logs.say, track=logs.track)


def _made_before(folder: Path) -> bool:
    """Tell whether an interrupted run finished the store, which appears whole or not at all."""
    return (folder / "store" / "manifest.json").exists()


def prepare_real(chosen: dict[str, Any], folder: Path, found: Found) -> None:
    """Make a store of real scans."""
    if _made_before(folder):
        return
    choice = SplitChoice(chosen["test"], chosen["validation"])
    prepare_scans(
        Inputs(Path(chosen["input"])),
        folder / "store",
        choice=choice,
        say=logs.say,
        track=logs.track,
    )


def train(
    name: str, chosen: ConfigDict, source: str, cohort: Cohort, folder: Path, found: Found
) -> None:
    """Train `name`, from scratch or from the run of `source`.

    Raises:
        StoppedError: The training was asked to stop.
    """
    chosen = chosen.copy_and_resolve_references()
    chosen.data.store = str(cohort.folder(found))
    if source:
        chosen.transfer.run = str(cohort.runs([source], found)[0])
    procedures.train(config.parse(chosen), folder / name)


def score(names: Sequence[str], slices: int, cohort: Cohort, folder: Path, found: Found) -> None:
    """Score the trainings on whole slices of test patients."""
    choices = comparison.EvaluationOptions(slices=slices, figures=0)
    table = comparison.compare(cohort.runs(names, found), cohort.folder(found), folder, choices)
    logs.show(str(table))


def draw_cases(names: Sequence[str], cohort: Cohort, folder: Path, found: Found) -> None:
    """Draw the deck's case studies."""
    runs, choices = cohort.runs(names, found), comparison.EvaluationOptions()
    draw_case_studies(
        folder,
        [load_run(run) for run in runs],
        open_store(cohort.folder(found)).split(choices.split),
        get_protocol(choices.protocol),
        comparison.load_features(runs, choices),
    )


def measure(
    chosen: dict[str, Any], names: Sequence[str], cohort: Cohort, folder: Path, found: Found
) -> None:
    """Measure the detectability of lesions for every training; write detectability.json."""
    tasks = [
        LesionTask(radius, contrast)
        for radius in chosen["radius_mm"]
        for contrast in chosen["contrast_hu"]
    ]
    kept = ("phantoms", "slices", "size", "rois", "dose", "interval_mm", "margin")
    shape = {key: chosen[key] for key in kept}
    scans = phantom_scans(tasks, **shape, seed=_OBSERVER_SEED)
    rows = measure_detectability(
        [load_run(run) for run in cohort.runs(names, found)],
        logs.track(scans, "phantoms with lesions", chosen["phantoms"]),
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
    text = json.dumps(written, indent=1) + "\n"
    files.write_file(folder / "detectability.json", text.encode(), shared=True)


def sweep(chosen: ConfigDict, cohort: Cohort, folder: Path, found: Found) -> None:
    """Train with every value of a setting, holding out each fold of patients; write sweep.json.

    Each training equals train.py with --config.FIELD=VALUE --config.data.folds=N
    --config.data.fold=K. The scores are those of its last validation, on the patients held out.
    """
    folds: dict[int, dict[float, dict[str, float]]] = {}
    for fold in range(chosen.folds):
        for value in chosen["values"]:
            own = swept(chosen, value, fold=fold)
            own.data.store = str(cohort.folder(found))
            run = folder / f"{value:g}-fold{fold}"
            experiment = config.parse(own)
            procedures.train(experiment, run)
            scores = _last_scores(run, experiment.train.total_steps)
            folds.setdefault(fold, {})[value] = scores
    written = {"field": chosen.field, "folds": folds}
    text = json.dumps(written, indent=1) + "\n"
    files.write_file(folder / "sweep.json", text.encode(), shared=True)


def _last_scores(run: Path, step: int) -> run_log.Row:
    """Return the scores of a run's last validation, which must be that of its last step.

    Raises:
        InputError: the log lacks them, because it was damaged.
    """
    rows = run_log.read_jsonl(run / "validation.jsonl")
    if not rows or rows[-1]["step"] != step:
        raise InputError(
            f"{run.name}/validation.jsonl: the scores of step {step} are missing; remove the "
            "folder to train it again"
        )
    return rows[-1]


def swept(chosen: ConfigDict, value: float, *, fold: int) -> ConfigDict:
    """Return the sweep's configuration for one value of its setting and one fold held out."""
    own = chosen.config.copy_and_resolve_references()
    own.update_from_flattened_dict({chosen.field: value})
    own.data.folds, own.data.fold = chosen.folds, fold
    return own


def write_report(
    about: dict[str, Any], names: Sequence[str], cohort: Cohort, folder: Path, found: Found
) -> None:
    """Write the page, its figures and its tables."""
    runs = dict(zip(names, cohort.runs(names, found), strict=True))
    about = about | {"made": _made(found)}
    report.write(folder, about=about, runs=runs, found=found)


def _made(found: Found) -> str:
    """Return one sentence on the time, device and code of the stages."""
    # A plan runs a stage again whose record is damaged, so that none is missing here.
    records = [record for folder in found.values() if (record := read_record(folder))]
    taken = duration(sum(record["seconds"] for record in records))
    where = sorted({record.get("device", "a device not noted") for record in records})
    code = sorted({record.get("commit", "not noted") for record in records})
    return f"{len(records)} stages in {taken} on {', '.join(where)}; commit {', '.join(code)}."


def origin() -> dict[str, str]:
    """Return the device and the code, for the record of what they made."""
    device = f"{jax.device_count()} {jax.devices()[0].device_kind}"
    if jax.default_backend() == "cpu":
        device = f"{os.cpu_count()} CPU cores"
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "not under git"
    return {"device": f"{device}, jax {jax.__version__}", "commit": commit}
