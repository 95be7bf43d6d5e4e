"""The driver behind evaluate.py: several runs on one store, side by side."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cpca_jax.data.store.reader import PairedSeries, Store, open_store
from cpca_jax.denoising.denoiser import Denoiser, load_run
from cpca_jax.errors import ConfigError
from cpca_jax.evaluation import case_figure, report
from cpca_jax.evaluation.case_studies import case_region, case_slice
from cpca_jax.evaluation.scoring import SliceScore, evaluate_series, middle
from cpca_jax.metrics.protocols import get_protocol
from cpca_jax.runs import checkpoints, config
from cpca_jax.runtime import logs, run_log
from cpca_jax.runtime.circumstances import disk_errors
from cpca_jax.runtime.files import require_apart
from cpca_jax.values import NOT_NEGATIVE, ONE_OR_MORE, require_count
from cpca_jax.weights import feature_network
from cpca_jax.weights.feature_network import FeatureNetwork

# The feature network where no run names one: it comes with the installation. The tap of each
# network is of the depth that the deck uses.
DEFAULT_NETWORK = "vgg16"
DEFAULT_TAPS = {"vgg16": "relu5_3", "vgg19": "relu5_4", "random": "relu5_4"}


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """The choices that the flags of evaluate.py make."""

    protocol: str = "deck"
    split: str = "test"
    kernels: tuple[str, ...] = ()
    network: str = ""
    tap: str = ""
    weights: str = ""
    slices: int = 0
    batch: int = 4
    figures: int = 3


def compare(
    runs: Sequence[Path], store: Path, output: Path, choices: EvaluationOptions
) -> report.Table:
    """Score low dose and every run on one split of a store; write the report.

    Writes table.md, table.csv, metrics.json, slices.csv, case-*.png, curves.png and critics.png
    into `output`.

    Raises:
        InputError: The protocol is unknown, the split is empty, a store, run or feature network
            is missing, or `output` lies in the store or in a run.
    """
    protocol = get_protocol(choices.protocol)
    require_count("slices", choices.slices, NOT_NEGATIVE)
    require_count("batch", choices.batch, ONE_OR_MORE)
    require_count("figures", choices.figures, NOT_NEGATIVE)
    require_apart(output, [store, *runs])
    opened = open_store(store)
    series = opened.split(choices.split, kernels=choices.kernels, key="--kernels")
    models = _load(runs)
    features = load_features(runs, choices)
    with disk_errors(output.name):
        # For the owner only, because figures show patients.
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
    total = sum(len(middle(s, choices.slices)) for s in series)
    logs.say(f"evaluating {total} slices of {len(series)} series, split '{choices.split}'")
    logs.say(f"  protocol {protocol.description}")
    logs.say(f"  perceptual: {features.label}")
    scores: list[SliceScore] = []
    with logs.ProgressBar("scoring slices", total) as bar:
        for number, one in enumerate(series):
            chosen = middle(one, choices.slices)
            case = case_slice(one, chosen)
            for rows, images in evaluate_series(
                models, one, protocol, features, batch=choices.batch, chosen=chosen
            ):
                scores += rows
                if number < choices.figures and any(row.slice == case for row in rows):
                    _draw(output, one, case, rows, images)
                for _ in images["full dose"]:
                    bar.advance()
    opened.require_unchanged()
    table = report.Table(
        protocol=protocol.name,
        protocol_description=protocol.description,
        feature_network=features.label,
        store=_describe(opened, series, choices),
        runs={model.name: f"step {model.step}, {model.digest}" for model in models},
        rows=report.make_rows(scores),
    )
    report.write_tables(output, table, scores)
    _draw_curves(output, {run: model.step for run, model in zip(runs, models, strict=True)})
    _draw_critics(output, runs)
    return table


def _load(runs: Sequence[Path]) -> list[Denoiser]:
    models = [load_run(run) for run in runs]
    names = [model.name for model in models]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ConfigError(f"--runs: {double[0]} is given twice; the run's folder names its row")
    return models


def load_features(runs: Sequence[Path], choices: EvaluationOptions) -> FeatureNetwork:
    """Load the chosen feature network, else that of the first run, else the installation's own."""
    network, tap, weights = DEFAULT_NETWORK, DEFAULT_TAPS[DEFAULT_NETWORK], ""
    if runs:
        used = config.parse_perceptual(checkpoints.read_config(runs[0]))
        network, tap, weights = used.network, used.tap, used.weights
    if choices.network and choices.network != network:
        network, weights = choices.network, ""
        tap = choices.tap or DEFAULT_TAPS.get(network, "")
    return feature_network.load_feature_network(
        network, tap=choices.tap or tap, weights=choices.weights or weights
    )


def _draw(
    output: Path,
    series: PairedSeries,
    case: int,
    rows: Sequence[SliceScore],
    images: Mapping[str, np.ndarray],
) -> None:
    """Draw the case slice of the series, which is one of these slices."""
    own = {row.method: row for row in rows if row.slice == case}
    place = case - min(row.slice for row in rows)
    picture = {method: image[place] for method, image in images.items()}
    path = output / f"case-{series.name}-slice{case:03d}.png"
    roi = case_region(series, case, picture["full dose"])
    case_figure.draw_case(path, picture, own, roi, title=f"{series.name}, slice {case}")
    logs.say(f"  figure {path.name}")


def _draw_curves(output: Path, steps: Mapping[Path, int]) -> None:
    """Draw the curves of the runs that were validated, in groups that can be compared.

    Args:
        output: The folder for the figure.
        steps: The step of the checkpoint that was scored, by the folder of the run.
    """
    groups: dict[str, dict[str, Sequence[Mapping[str, float]]]] = {}
    for run, step in steps.items():
        lines = run_log.read_jsonl(run / "validation.jsonl")
        if lines:
            groups.setdefault(_meaning(run, step), {})[run.resolve().name] = lines
    if groups:
        report.draw_curves(output / "curves.png", groups)


def _meaning(run: Path, step: int) -> str:
    """Return what the validation scores of a run depend on besides its weights."""
    written, about = checkpoints.config_of(run, step), checkpoints.read_manifest(run, step).about
    data, slices = written["data"], written["train"]["validation_slices"]
    used = f"split '{data['validation_split']}', {slices or 'all'} slices"
    if data.get("folds"):
        used = f"fold {data['fold']} of {data['folds']}, {slices or 'all'} slices"
    kernels = f", kernels {', '.join(data['kernels'])}" if data["kernels"] else ""
    return (
        f"store {about['data'][:12]}, {used}{kernels}; protocol "
        f"{written['evaluation']['protocol']}; {about['feature_network']}"
    )


def _draw_critics(output: Path, runs: Sequence[Path]) -> None:
    """Draw the gradient norms and Wasserstein estimates of the runs that had a critic."""
    logged = {run.resolve().name: run_log.read_jsonl(run / "train.jsonl") for run in runs}
    curves = {
        name: lines
        for name, lines in logged.items()
        if any("wasserstein" in line for line in lines)
    }
    if curves:
        report.draw_critics(output / "critics.png", curves)


def _describe(store: Store, series: Sequence[PairedSeries], choices: EvaluationOptions) -> str:
    simulated = sum(s.simulated for s in series)
    kind = {0: "real", len(series): "simulated"}.get(simulated, "partly simulated")
    kernels = ", ".join(sorted({s.kernel for s in series}))
    return (
        f"split '{choices.split}' of {store.root.name} ({store.fingerprint[:12]}): {len(series)} "
        f"series, kernels {kernels}; {kind} low dose"
    )
