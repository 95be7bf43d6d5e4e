"""The tables of a reproduction: the numbers of its stages as rows of text."""

import csv
import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cpca_jax.evaluation.scoring import LOW_DOSE
from cpca_jax.metrics import METRICS, Metric, statistics
from cpca_jax.metrics.table import drawn
from cpca_jax.reproduction import deck_values

Values = Float[np.ndarray, " slice"]
Methods = Mapping[str, Sequence[Mapping[str, str]]]
Rows = list[tuple[str, ...]]
_SEED = 0

PRINTED_HEADS = ("the deck's PSNR", "SSIM", "perceptual (VGG19)")
FOUND_HEADS = (
    "method",
    "radius (mm)",
    "contrast (HU)",
    "d' [95 %]",
    "AUC [95 %]",
    "d' over low dose",
    "PSNR over low dose (dB)",
)
LESS_VISIBLE = "less visible"
ORDER_HEADS = ("the deck shows", "there", "here", "verdict")


def shown() -> dict[str, Metric]:
    """Return the metrics of the page's tables: those that curves show, and the bias."""
    return drawn() | {"bias_hu": METRICS["bias_hu"]}


def table_heads() -> tuple[str, ...]:
    """Return the heads of `table_rows`."""
    return ("method", *(f"{metric.heading} [95 %]" for metric in shown().values()))


def step_heads() -> tuple[str, ...]:
    """Return the heads of `step_rows`."""
    return ("method", "against", *(metric.heading for metric in drawn().values()))


def sweep_heads() -> tuple[str, ...]:
    """Return the heads of `sweep_rows`."""
    return ("value", *(f"{metric.heading} (folds)" for metric in shown().values()))


def read_slices(path: Path) -> dict[str, list[dict[str, str]]]:
    """Return the rows of a slices.csv by method, in order of appearance."""
    methods: dict[str, list[dict[str, str]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            methods.setdefault(row["method"], []).append(row)
    return methods


def table_rows(methods: Methods, *, printed: bool = False) -> Rows:
    """Return each method's means with their intervals.

    Args:
        methods: The scores by method, of the same slices in the same order, as in slices.csv.
        printed: True to put the deck's numbers beside them.
    """
    rows: Rows = []
    for method, slices in methods.items():
        patients = [row["patient"] for row in slices]
        cells = [method]
        for metric in shown():
            interval = statistics.mean_interval(column(slices, metric), patients, seed=_SEED)
            cells.append(_interval(interval, metric))
        if printed:
            own = deck_values.TABLE.get(method)
            cells += [f"{value:g}" for value in own] if own else [""] * len(PRINTED_HEADS)
        rows.append(tuple(cells))
    return rows


def step_rows(methods: Methods) -> Rows:
    """Return the difference of each method from the one above it, by metric, with p."""
    names = list(methods)
    return [
        (method, above, *(_difference(methods[method], methods[above], m) for m in drawn()))
        for above, method in itertools.pairwise(names)
    ]


def column(slices: Sequence[Mapping[str, str]], metric: str) -> Values:
    """Return one metric of a method's slices."""
    return np.array([float(row[metric]) for row in slices])


def _interval(found: statistics.MeanInterval, metric: str) -> str:
    show = METRICS[metric].show
    if found.low is None or found.high is None:
        return show(found.mean)
    return f"{show(found.mean)} [{show(found.low)}, {show(found.high)}]"


def _difference(
    own: Sequence[Mapping[str, str]], above: Sequence[Mapping[str, str]], metric: str
) -> str:
    patients = [row["patient"] for row in own]
    test = statistics.paired_test(column(own, metric), column(above, metric), patients, seed=_SEED)
    p = "" if test.p_value is None else f" (p = {test.p_value:.2g})"
    return f"{METRICS[metric].show(test.difference, signed=True)}{p}"


def detectability_rows(found: Iterable[Mapping[str, Any]], methods: Methods) -> Rows:
    """Return d', AUC and gains of each method; a loss of d' beyond chance is marked.

    Args:
        found: The rows of detectability.json.
        methods: The rows of slices.csv by method, for the gain of each in PSNR.
    """
    psnr = {name: float(column(rows, "psnr").mean()) for name, rows in methods.items()}
    rows: Rows = []
    for row in found:
        gain, lost = row["gain"], f" ({LESS_VISIBLE})" if row["gain"]["high"] < 0 else ""
        spread = f"{gain['mean']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]{lost}"
        prime, auc = row["d_prime"], row["auc"]
        rows.append((
            str(row["method"]),
            f"{row['radius_mm']:g}",
            f"{row['contrast_hu']:g}",
            f"{prime['mean']:.2f} [{prime['low']:.2f}, {prime['high']:.2f}]",
            f"{auc['mean']:.3f} [{max(auc['low'], 0):.3f}, {min(auc['high'], 1):.3f}]",
            "" if row["method"] == LOW_DOSE else spread,
            f"{psnr[row['method']] - psnr[LOW_DOSE]:+.2f}" if row["method"] in psnr else "",
        ))
    return rows


def sweep_rows(folds: Mapping[int, Mapping[float, Mapping[str, float]]]) -> Rows:
    """Return the mean over folds and their range for each value of the swept setting.

    Args:
        folds: The scores by fold, by value and by metric; every fold has the same values.
    """
    rows: Rows = []
    for value in sorted(next(iter(folds.values()))):
        cells = [f"{value:g}"]
        for name, metric in shown().items():
            scores = [scores[value][name] for scores in folds.values()]
            mean = metric.show(sum(scores) / len(scores))
            cells.append(f"{mean} ({metric.show(min(scores))} to {metric.show(max(scores))})")
        rows.append(tuple(cells))
    return rows


def best_values(folds: Mapping[int, Mapping[float, Mapping[str, float]]]) -> dict[str, float]:
    """Return the value with the best mean over folds, by metric."""

    def mean(metric: str, value: float) -> float:
        means = sum(scores[value][metric] for scores in folds.values()) / len(folds)
        return METRICS[metric].worth(means)

    values = list(next(iter(folds.values())))
    return {metric: max(values, key=partial(mean, metric)) for metric in drawn()}
