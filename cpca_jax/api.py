"""The programs as functions, for notebooks and scripts; `import cpca_jax as cpca` gives them all.

    store = cpca.make_phantoms("store", count=4)
    flat = cpca.train(cpca.config("cpca1:cpu", store=store, steps=400), "runs/flat")
    deep = cpca.train(cpca.config("cpca3_transfer:cpu", store=store, run=flat), "runs/deep")
    clean = cpca.load_run(deep).denoise(volume_hu)
    print(cpca.evaluate([flat, deep], store, protocol="deck"))

Each function imports what it needs when it is called.
"""

import dataclasses
import importlib.metadata
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from cpca_jax.runs.config import Experiment

if TYPE_CHECKING:
    from cpca_jax.evaluation.report import Table

Folder = Path | str


def make_phantoms(
    output: Folder,
    *,
    count: int = 4,
    slices: int = 32,
    size: int = 512,
    dose: float = 0.25,
    seed: int = 0,
) -> Path:
    """Make a store of seeded phantoms with a simulated low dose.

    Args:
        output: the store's folder; it must not exist yet, or must be empty.
        count: the number of phantoms; each is one patient, and the last ones are for validation
            and testing.
        slices: the number of slices of each phantom.
        size: the number of rows and of columns.
        dose: the low dose as a share of the full dose.
        seed: the seed of the store; the same seed gives the same store.

    Returns:
        The store's folder.

    Raises:
        InputError: an impossible number, or a folder that is taken.
    """
    from cpca_jax.preparation import prepare

    prepare.prepare_phantoms(count, Path(output), slices=slices, size=size, dose=dose, seed=seed)
    return Path(output)


def config(
    name: str, *, store: Folder = "", run: Folder = "", steps: int | None = None
) -> ConfigDict:
    """Return the configuration of an experiment, which can be changed before it is trained.

    Args:
        name: a built-in experiment, perhaps with a variant ("cpca3_transfer:cpu"), or the path of
            a file that ends in ".py".
        store: the folder of the store to train on.
        run: for a transfer, the finished 2D run to start from.
        steps: the number of generator updates; by default that of the experiment.

    Raises:
        ConfigError: no such experiment or variant.
    """
    from cpca_jax import configs

    chosen = configs.load(name)
    if store:
        chosen.data.store = str(store)
    if run:
        chosen.transfer.run = str(run)
    if steps is not None:
        chosen.train.steps = steps
    return chosen


def train(experiment: ConfigDict | Mapping[str, Any] | Experiment, workdir: Folder) -> Path:
    """Train an experiment to its end; called again after an interruption, continue it.

    Args:
        experiment: a configuration as `config` returns it.
        workdir: the folder of the run.

    Returns:
        The folder of the run.

    Raises:
        InputError: an impossible configuration, or a store or run that cannot be used.
        StoppedError: the process was asked to stop.
    """
    from cpca_jax.programs import launch
    from cpca_jax.runs.config import parse
    from cpca_jax.training import procedures

    launch.refuse_broken_jax(importlib.metadata.version("jax"))
    parsed = experiment if isinstance(experiment, Experiment) else parse(experiment)
    procedures.train(parsed, Path(workdir))
    return Path(workdir)


def evaluate(
    runs: Sequence[Folder],
    store: Folder,
    *,
    protocol: str = "deck",
    split: str = "test",
    slices: int = 0,
    output: Folder | None = None,
) -> "Table":
    """Score the low dose and every run on one split of a store.

    Args:
        runs: the folders of trained runs.
        store: the folder of a store of paired scans.
        protocol: the name of the definition of PSNR and SSIM, a row of `protocols.PROTOCOLS`.
        split: the split whose patients are scored.
        slices: the number of middle slices of each series to score; 0 for all.
        output: the folder for tables and figures; None writes neither.

    Returns:
        The table; printing it shows its definitions too, and `rows` holds the numbers.

    Raises:
        InputError: an unknown protocol, a missing store or run, an empty split.
    """
    from cpca_jax.evaluation import comparison

    choices = comparison.EvaluationOptions(protocol=protocol, split=split, slices=slices)
    folders = [Path(run) for run in runs]
    if output is not None:
        return comparison.compare(folders, Path(store), Path(output), choices)
    with tempfile.TemporaryDirectory() as unseen:
        choices = dataclasses.replace(choices, figures=0)
        return comparison.compare(folders, Path(store), Path(unseen), choices)
