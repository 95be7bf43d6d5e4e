"""The files of an evaluation: tables, scores of each slice, figures and curves."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cpca_jax.evaluation.scoring import SliceScore, mean_scores
from cpca_jax.metrics import METRICS
from cpca_jax.metrics.table import drawn
from cpca_jax.runtime import figures, files


@dataclasses.dataclass(frozen=True)
class Row:
    """One method of the table: its means over slices, by the names of the metrics."""

    method: str
    scores: Mapping[str, float]
    slices: int
    patients: int

    def as_row(self) -> dict[str, Any]:
        """Return the row as a file has it, with a column for each metric."""
        counts = {"slices": self.slices, "patients": self.patients}
        return {"method": self.method} | dict(self.scores) | counts


@dataclasses.dataclass(frozen=True)
class Table:
    """The table of an evaluation, and the meaning of its numbers.

    Attributes:
        protocol: The name of the protocol.
        protocol_description: The definition of the protocol in one line.
        feature_network: The name, tap and digest of the perceptual metric's network.
        store: The origin of the slices, with a note on whether the low dose is simulated.
        runs: The step and the digest of each run's checkpoint, by the name of the run.
        rows: One row per method, low dose first.
    """

    protocol: str
    protocol_description: str
    feature_network: str
    store: str
    runs: Mapping[str, str]
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        """Return the table as Markdown, its definitions above it."""
        return markdown(self)


def make_rows(scores: Sequence[SliceScore]) -> tuple[Row, ...]:
    """Return the means over slices of each method, in order of appearance."""
    rows = []
    for method, means in mean_scores(scores).items():
        own = [score for score in scores if score.method == method]
        patients = len({score.patient for score in own})
        rows.append(Row(method, means, slices=len(own), patients=patients))
    return tuple(rows)


def write_tables(folder: Path, table: Table, scores: Sequence[SliceScore]) -> None:
    """Write table.md, table.csv, metrics.json and slices.csv."""
    rows = [row.as_row() for row in table.rows]
    metrics = json.dumps(dataclasses.asdict(table) | {"rows": rows}, indent=2) + "\n"
    files.write_file(folder / "table.md", markdown(table).encode())
    files.write_file(folder / "metrics.json", metrics.encode())
    write_csv(folder / "table.csv", rows)
    write_csv(folder / "slices.csv", [score.as_row() for score in scores])


def markdown(table: Table) -> str:
    """Return the table as Markdown, its definitions above it."""
    heads = ["method", *(m.heading for m in METRICS.values()), "slices", "patients"]
    lines = [
        f"- protocol: {table.protocol_description}",
        f"- perceptual: mean squared feature difference, {table.feature_network}",
        f"- data: {table.store}",
        *(f"- {run}: {checkpoint}" for run, checkpoint in table.runs.items()),
        "",
        "| " + " | ".join(heads) + " |",
        "| --- |" + " ---: |" * (len(heads) - 1),
    ]
    for row in table.rows:
        cells = [metric.show(row.scores[name]) for name, metric in METRICS.items()]
        lines.append(f"| {row.method} | {' | '.join(cells)} | {row.slices} | {row.patients} |")
    return "\n".join(lines) + "\n"


def draw_curves(
    path: Path, groups: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
) -> None:
    """Draw the validation scores by epoch: a row of axes for each group, one line per run.

    The score before the first training step is left outside the axes where it is far from all
    later ones.

    Args:
        path: The PNG file to write.
        groups: The lines of each run's validation.jsonl, by the name of the run and by the meaning
            of the numbers (store, protocol, feature network); only runs of one group are compared.
    """
    metrics = drawn()
    figure = figures.new_figure(1 + 4 * len(metrics), 4.2 * len(groups))
    parts = figure.subfigures(len(groups), 1, squeeze=False)[:, 0]
    for part, (meaning, curves) in zip(parts, groups.items(), strict=True):
        grid = part.subplots(1, len(metrics), squeeze=False)
        for metric, axes in zip(metrics, grid.flat, strict=True):
            _draw_group(axes, metric, curves)
        part.suptitle(f"Validation; {meaning}", fontsize=9)
    files.write_file(path, figures.png(figure))


def _draw_group(axes: Axes, metric: str, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw one metric of runs that can be compared, with their common baseline."""
    baseline = None
    # A run from before a metric was added has no curve of it.
    known = {
        name: [
            line for line in lines if math.isfinite(line.get(metric, math.nan)) and "epoch" in line
        ]
        for name, lines in curves.items()
    }
    for name, lines in known.items():
        epochs = [line["epoch"] for line in lines]
        axes.plot(epochs, [line[metric] for line in lines], marker="o", ms=3, label=name)
        baseline = lines[-1].get(f"low_{metric}") if lines else baseline
    if baseline is not None:
        axes.axhline(baseline, color="0.5", linestyle="--", label="low dose")
    shown = [value for lines in known.values() for value in _usual(lines, metric)]
    if shown:
        _limit(axes, [*shown, *([] if baseline is None else [baseline])])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label(axes, METRICS[metric].heading, "epoch")


def _side_by_side() -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with axes for each metric that curves show."""
    metrics = drawn()
    figure = figures.new_figure(1 + 4 * len(metrics), 4.2)
    grid = figure.subplots(1, len(metrics), squeeze=False)
    return figure, dict(zip(metrics, grid.flat, strict=True))


def _label(axes: Axes, title: str, across: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=9)


def _usual(lines: Sequence[Mapping[str, Any]], metric: str) -> list[float]:
    """Return the values of a curve, without the first if it is further off than the rest span."""
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
    """Draw the scores over the values of a setting, by fold and on average.

    Args:
        path: The PNG file to write.
        field: The name of the setting.
        folds: The scores by fold, by value of the setting and by metric; every fold has the same
            values, all above 0.
        note: The meaning of the numbers.
    """
    figure, places = _side_by_side()
    values = sorted(next(iter(folds.values())))
    for metric, axes in places.items():
        lines = [[scores[value][metric] for value in values] for scores in folds.values()]
        for number, line in zip(folds, lines, strict=True):
            axes.plot(values, line, color="0.6", marker="o", ms=3, lw=1, label=f"fold {number}")
        means = [sum(column) / len(column) for column in zip(*lines, strict=True)]
        axes.plot(values, means, color="C0", marker="o", lw=2, label="mean")
        axes.set_xscale("log")
        axes.set_xticks(values, labels=[f"{value:g}" for value in values])
        axes.minorticks_off()
        _label(axes, METRICS[metric].heading, field)
    figure.suptitle(f"Held-out patients; {note}", fontsize=10)
    files.write_file(path, figures.png(figure))


def draw_critics(path: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw the gradient norm and the Wasserstein estimate by step, one line per run.

    Args:
        path: The PNG file to write.
        curves: The lines of each run's train.jsonl, by the name of the run.
    """
    shown = {"gradient_norm": "gradient norm", "wasserstein": "Wasserstein estimate"}
    figure = figures.new_figure(13, 4.6)
    for axes, (scalar, title) in zip(figure.subplots(1, 2), shown.items(), strict=True):
        for name, lines in curves.items():
            points = [(line["step"], line[scalar]) for line in lines if scalar in line]
            axes.plot(*zip(*points, strict=True), lw=1.2, label=name)
        # Scores of differently regularised critics differ by orders of magnitude.
        axes.set_yscale("symlog", linthresh=0.1)
        _label(axes, title, "step")
    figure.suptitle("Critics in training; norms where each penalty looks", fontsize=10)
    files.write_file(path, figures.png(figure))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table as CSV with the keys of its first row as heads; without rows, no file."""
    if not rows:
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    files.write_file(path, text.getvalue().encode())
