"""The commands that are interrupted: what each is given, what it does, and what it must leave.

A job is a row of JOBS. To add one, write a function that does the work below a folder, as the
command does; everything that it leaves there is compared with an undisturbed run.
"""

import dataclasses
import datetime
import json
import re
from collections.abc import Callable
from pathlib import Path

import denoised
import fake_dicom
import kinds
import numpy as np
import tiny

from cpca_jax import trees
from cpca_jax.configs import deck
from cpca_jax.data.collections.sources import Inputs
from cpca_jax.denoising.folder import DenoisingOptions, denoise_folder
from cpca_jax.evaluation import comparison
from cpca_jax.evaluation.comparison import EvaluationOptions
from cpca_jax.preparation import prepare
from cpca_jax.reproduction.plan import make_plan
from cpca_jax.runs import checkpoints, saving
from cpca_jax.training import conversion, procedures

CREATED = datetime.datetime(2026, 1, 31, 12, 30)
# What measures time differs from run to run.
_TIMES = {"seconds_per_step", "seconds", "slices_per_second", "busy", "state", "commit"}
_RATE = re.compile(r", [\d.]+ slices/s \(.*?\)")


@dataclasses.dataclass(frozen=True)
class Job:
    """A command on small data.

    Attributes:
        given: writes the input into a folder, once; all runs share it.
        run: does the work, from the folder of the input to that of the results.
    """

    given: Callable[[Path], object]
    run: Callable[[Path, Path], object]


def give_scans(given):
    for patient in ("L001", "L002", "L003"):
        fake_dicom.write_pair(given / patient, slices=4, PatientID=patient)


def run_prepare(given, folder):
    prepare.prepare_scans(Inputs(given), folder / "store")


def give_series(given):
    for series in range(2):
        volume = fake_dicom.body(3, noise_hu=10.0, seed=series, size=32)
        uids = {"SeriesInstanceUID": f"1.2.3.{series}", "StudyInstanceUID": "1.2.3"}
        fake_dicom.write_series(given / f"{series}", volume, **uids)


def run_denoise(given, folder):
    choices = DenoisingOptions(created=CREATED, compare=True)
    denoise_folder(denoised.IDENTITY, given, folder / "out", choices)


def run_train(given, folder):
    chosen = {"train__checkpoint_every": 1, "train__keep_checkpoints": 2}
    procedures.train(tiny.configuration(given / "store", **chosen), folder / "run")


def give_run(given):
    run_train(given, give_store(given))


def give_store(given):
    tiny.write_store(given / "store")
    return given


def run_evaluate(given, folder):
    choices = EvaluationOptions(network="random", tap="relu1_2")
    comparison.compare([given / "run"], given / "store", folder / "out", choices)


def run_convert(given, folder):
    experiment = tiny.configuration(given / "store")
    conversion.convert(experiment, given / "weights.npz", folder / "run")


def run_reproduce(given, folder):
    chosen = deck.get_config("demo")
    chosen.phantoms.update({"count": 3, "test_count": 1, "slices": 4, "size": 64})
    chosen.rows, chosen.cases = ("CPCA-1", "CPCA-3", "CPCA_TF-3"), ("CPCA-1",)
    chosen.questions = ()
    for name in chosen.rows:
        config = chosen.trainings[name].config
        config.update(_small(slices=config.model.slices))
    chosen.trainings["CPCA_TF-3"].config.transfer.step = 2
    plan = make_plan(chosen, folder / "deck")
    plan.run(["train-CPCA_TF-3", "cases"], say=lambda line: None)


def _small(*, slices):
    return {
        "data": {"patch": 20, "batch": 2},
        "model": {"fields": {"features": 4}},
        "critic": {"fields": {"features": (2, 2, 4, 4, 4, 4), "dense": 8}},
        "perceptual": {"network": "random", "tap": "relu1_2"},
        "train": {"epochs": 1, "steps_per_epoch": 2, "log_every": 1, "validation_slices": 1},
        "compute": {"devices": 1},
        "loss": {"critic_steps": 1},
    }


JOBS = {
    "prepare": Job(give_scans, run_prepare),
    "denoise": Job(give_series, run_denoise),
    "train": Job(give_store, run_train),
    "evaluate": Job(give_run, run_evaluate),
    "convert": Job(kinds.KINDS["state-dict-npz"].make, run_convert),
    "reproduce": Job(lambda given: given.mkdir(exist_ok=True), run_reproduce),
}


def content(folder):
    """Return everything below a folder that does not depend on the time of day, by its place."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if "/events" in name or _is_part_of_checkpoint(path):
            continue
        if path.parent.name == checkpoints.FOLDER and path.name.isdigit():
            found[name] = _state(path)
        elif path.is_dir():
            found[name] = "folder"
        elif path.suffix in {".json", ".jsonl"}:
            lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            rows = [_timeless(_parsed(line)) for line in lines]
            found[name] = str(rows).replace(str(folder), "")
        elif path.suffix in {".html", ".png"}:
            # A picture made afterwards is of the pixels as they were written.
            found[name] = "page"
        else:
            found[name] = path.read_bytes().hex()
    return found


def _is_part_of_checkpoint(path):
    return any(above.parent.name == checkpoints.FOLDER for above in path.parents)


def _parsed(text):
    try:
        return json.loads(text)
    except ValueError:  # half written; whoever compares sees that it differs
        return text


def _timeless(value):
    if isinstance(value, dict):
        return {key: _timeless(v) for key, v in value.items() if key not in _TIMES}
    if isinstance(value, list):
        return [_timeless(one) for one in value]
    return _RATE.sub("", value) if isinstance(value, str) else value


def _state(path):
    """Return both networks and their optimisers, bit by bit."""
    run, step = path.parent.parent, int(path.name)
    if checkpoints.problem(run, step) is not None:
        return "damaged"
    leaves = {}
    for which in ("generator", "critic"):
        player = saving.restore_player(run, which, step=step)
        for part in (player.params, player.opt_state):
            leaves |= {f"{which}/{n}/{len(leaves)}": a for n, a in trees.by_name(part).items()}
    return {name: np.asarray(leaf).tobytes().hex() for name, leaf in leaves.items()}
