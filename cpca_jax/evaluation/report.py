"""What an evaluation leaves on disk: tables, per-slice scores, figures, curves."""

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cpca_jax.evaluation.scoring import METRICS, SliceScore, mean_scores
from cpca_jax.runtime import figures

HEADINGS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "rmse_hu": "RMSE (HU)",
    "bias_hu": "bias (HU)",
    "perceptual": "perceptual",
}
# The deck's three, in its order.
CURVES = ("psnr", "ssim", "perceptual")
DIGITS = {"psnr": 2, "ssim": 4, "rmse_hu": 1, "bias_hu": 1, "perceptual": 4}


@dataclasses.dataclass(frozen=True)
class Row:
    """One method of the table: means over slices."""

    method: str
    psnr: float
    ssim: float
    rmse_hu: float
    bias_hu: float
    perceptual: float
    slices: int
    patients: int


@dataclasses.dataclass(frozen=True)
class Table:
    """The table of an evaluation, and what its numbers mean.

    Attributes:
        protocol: name of the protocol.
        protocol_description: its definition in one line.
        feature_network: name, tap and digest of the perceptual metric's network.
        store: where the slices come from, and whether the low dose is simulated.
        rows: one per method, low dose first.
    """

    protocol: str
    protocol_description: str
    feature_network: str
    store: str
    rows: tuple[Row, ...]


def make_rows(scores: Sequence[SliceScore]) -> tuple[Row, ...]:
    """Mean over slices of each method, in order of appearance."""
    rows = []
    for method, means in mean_scores(scores).items():
        own = [score for score in scores if score.method == method]
        patients = len({score.patient for score in own})
        rows.append(Row(method, **means, slices=len(own), patients=patients))
    return tuple(rows)


def write_tables(folder: Path, table: Table, scores: Sequence[SliceScore]) -> None:
    """Write table.md, table.csv, metrics.json and slices.csv."""
    (folder / "table.md").write_text(markdown(table))
    (folder / "metrics.json").write_text(json.dumps(dataclasses.asdict(table), indent=2) + "\n")
    write_csv(folder / "table.csv", [dataclasses.asdict(row) for row in table.rows])
    write_csv(folder / "slices.csv", [dataclasses.asdict(score) for score in scores])


def markdown(table: Table) -> str:
    """The table with its definitions above it."""
    heads = ["method", *(HEADINGS[m] for m in METRICS), "slices", "patients"]
    lines = [
        f"- protocol: {table.protocol_description}",
        f"- perceptual: mean squared feature difference, {table.feature_network}",
        f"- data: {table.store}",
        "",
        "| " + " | ".join(heads) + " |",
        "| --- |" + " ---: |" * (len(heads) - 1),
    ]
    for row in table.rows:
        cells = [f"{getattr(row, m):.{DIGITS[m]}f}" for m in METRICS]
        lines.append(f"| {row.method} | {' | '.join(cells)} | {row.slices} | {row.patients} |")
    return "\n".join(lines) + "\n"


def draw_curves(path: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]], note: str) -> None:
    """Validation PSNR, SSIM and perceptual distance by epoch, one line per run.

    What a network scored before its first step is outside the axes where it is far from all that
    followed.

    Args:
        path: of the PNG.
        curves: lines of each run's validation.jsonl by the run's name.
        note: what the numbers mean (protocol, feature network).
    """
    figure = figures.new_figure(13, 4.2)
    for axes, metric in zip(figure.subplots(1, 3), CURVES, strict=True):
        baseline = None
        for name, lines in curves.items():
            epochs = [line["epoch"] for line in lines]
            axes.plot(epochs, [line[metric] for line in lines], marker="o", ms=3, label=name)
            baseline = lines[-1].get(f"low_{metric}") if lines else baseline
        if baseline is not None:
            axes.axhline(baseline, color="0.5", linestyle="--", label="low dose")
        shown = [value for lines in curves.values() for value in _usual(lines, metric)]
        if shown:
            _limit(axes, [*shown, *([] if baseline is None else [baseline])])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _label(axes, HEADINGS[metric], "epoch")
    figure.suptitle(f"Validation; {note}", fontsize=10)
    path.write_bytes(figures.png(figure))


def _label(axes: Axes, title: str, across: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)


def _usual(lines: Sequence[Mapping[str, Any]], metric: str) -> list[float]:
    """A curve's values without a first one that is further from the others than they are apart."""
    first, *later = [float(line[metric]) for line in lines] or [0.0]
    if not later:
        return [first] if lines else []
    reach = max(later) - min(later)
    near = min(later) - reach <= first <= max(later) + reach
    return [first, *later] if near else later


def _limit(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.5
    axes.set_ylim(low - room, high + room)


def draw_sweep(
    path: Path, field: str, folds: Mapping[int, Mapping[float, Mapping[str, float]]], note: str
) -> None:
    """PSNR, SSIM and perceptual distance over the values of a setting, by fold and on average.

    Args:
        path: of the PNG.
        field: the setting's name.
        folds: scores by metric, by value, by fold; every fold has the same values, all above 0.
        note: what the numbers mean.
    """
    figure = figures.new_figure(13, 4.2)
    values = sorted(next(iter(folds.values())))
    for axes, metric in zip(figure.subplots(1, 3), CURVES, strict=True):
        lines = [[scores[value][metric] for value in values] for scores in folds.values()]
        for number, line in zip(folds, lines, strict=True):
            axes.plot(values, line, color="0.6", marker="o", ms=3, lw=1, label=f"fold {number}")
        means = [sum(column) / len(column) for column in zip(*lines, strict=True)]
        axes.plot(values, means, color="C0", marker="o", lw=2, label="mean")
        axes.set_xscale("log")
        axes.set_xticks(values, labels=[f"{value:g}" for value in values])
        axes.minorticks_off()
        _label(axes, HEADINGS[metric], field)
    figure.suptitle(f"Held-out patients; {note}", fontsize=10)
    path.write_bytes(figures.png(figure))


def draw_critics(path: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """How the critics fared: gradient norm and Wasserstein estimate by step, one line per run.

    Args:
        path: of the PNG.
        curves: lines of each run's train.jsonl by the run's name.
    """
    shown = {"gradient_norm": "gradient norm", "wasserstein": "Wasserstein estimate"}
    figure = figures.new_figure(13, 4.6)
    for axes, (scalar, title) in zip(figure.subplots(1, 2), shown.items(), strict=True):
        for name, lines in curves.items():
            steps = [line["step"] for line in lines]
            axes.plot(steps, [line[scalar] for line in lines], lw=1.2, label=name)
        # Scores of differently regularised critics differ by orders of magnitude.
        axes.set_yscale("symlog", linthresh=0.1)
        _label(axes, title, "step")
    figure.suptitle("Critics in training; norms where each penalty looks", fontsize=10)
    path.write_bytes(figures.png(figure))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table as CSV: the keys of its first row are the heads; no rows, no file."""
    if not rows:
        return
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
