"""The page at the end of a reproduction: the deck's slides with our numbers in them."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cpca_jax import checkpoints, config, html_page, logs, report, statistics
from cpca_jax.evaluation import QUARTER_DOSE
from cpca_jax.report import DIGITS, HEADINGS

Values = Float[np.ndarray, " slice"]
_METRICS = ("psnr", "ssim", "perceptual")
_SEED = 0


def write(
    folder: Path,
    *,
    runs: Mapping[str, Path],
    deep: Sequence[int],
    questions: Sequence[str],
    table: Path,
    detectability: Path,
) -> None:
    """Write report.html, report.md and the figures.

    Args:
        folder: where to.
        runs: folder of each training by its name.
        deep: slices of the 3D networks.
        questions: trainings that answer the deck's discussion.
        table: folder that an evaluation of these runs left.
        detectability: file that the observer's stage left.
    """
    curves = {name: _curve(run) for name, run in runs.items()}
    about = json.loads((table / "metrics.json").read_text())
    rows = table_rows(_slices(table))
    found = detectability_rows(json.loads(detectability.read_text()))
    parts = [
        html_page.paragraph(f"{about['store']}. {about['protocol_description']}. "),
        html_page.paragraph(f"Perceptual: {about['feature_network']}, mean squared difference."),
        html_page.heading("1. Training from scratch"),
    ]
    for i in (1, *deep):
        parts.append(_figure(folder, f"scratch-{i}", {f"CPCA-{i}": curves[f"CPCA-{i}"]}, about))
    parts.append(html_page.heading("2. Transfer against scratch"))
    for i in deep:
        pair = {name: curves[name] for name in ("CPCA-1", f"CPCA-{i}", f"CPCA_TF-{i}")}
        parts.append(_figure(folder, f"transfer-{i}", pair, about))
    parts += [
        html_page.heading("3. Whole slices of test patients"),
        html_page.table(_HEADS, rows),
        html_page.paragraph(_note(about)),
        html_page.heading("4. Case studies"),
        *(html_page.figure(case.read_bytes(), case.stem) for case in sorted(table.glob("case-*"))),
        html_page.heading("5. The discussion's questions"),
    ]
    answers = {name: curves[name] for name in questions}
    parts.append(_figure(folder, "discussion", answers, about))
    parts += [
        html_page.heading("6. Detectability of low-contrast lesions"),
        html_page.table(_FOUND_HEADS, found),
        html_page.paragraph(_OBSERVER),
    ]
    title = "Low-dose CT denoising: the deck, reproduced"
    (folder / "report.html").write_text(html_page.page(title, parts))
    (folder / "report.md").write_text(_markdown(title, about, rows, found))


_HEADS = (
    "method",
    *(f"{HEADINGS[metric]} [95 %]" for metric in _METRICS),
    "PSNR over the row above",
)
_FOUND_HEADS = ("method", "radius (mm)", "contrast (HU)", "d'", "AUC", "gain in d' over quarter")
_OBSERVER = (
    "Channelised Hotelling observer, Laguerre-Gauss channels, lesions inserted before the dose is "
    "lowered; mean and 95 % of readers, who train and test on random halves of the regions. A "
    "method that gains PSNR and loses d' shows less than the noisy image did."
)


def _note(about: Mapping[str, Any]) -> str:
    patients = about["rows"][0]["patients"]
    many = "patients are resampled" if patients > 1 else "one patient: slices in blocks, no test"
    return f"Intervals: bootstrap of {patients} patients, {many}. p by sign flips of patients."


def _slices(table: Path) -> dict[str, list[dict[str, str]]]:
    """Rows of slices.csv by method, in order of appearance."""
    methods: dict[str, list[dict[str, str]]] = {}
    with (table / "slices.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            methods.setdefault(row["method"], []).append(row)
    return methods


def table_rows(methods: Mapping[str, Sequence[Mapping[str, str]]]) -> list[tuple[str, ...]]:
    """Each method's means with their intervals, and how it differs from the row above.

    Args:
        methods: scores of the same slices in the same order by method, as slices.csv has them.
    """
    rows: list[tuple[str, ...]] = []
    above: Values | None = None
    for method, slices in methods.items():
        patients = [row["patient"] for row in slices]
        cells = [method]
        for metric in _METRICS:
            values = np.array([float(row[metric]) for row in slices])
            cells.append(_interval(statistics.mean_interval(values, patients, seed=_SEED), metric))
        values = np.array([float(row["psnr"]) for row in slices])
        cells.append("" if above is None else _difference(values, above, patients))
        rows.append(tuple(cells))
        above = values
    return rows


def _interval(found: statistics.MeanInterval, metric: str) -> str:
    digits = DIGITS[metric]
    if found.low is None or found.high is None:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _difference(values: Values, above: Values, patients: Sequence[str]) -> str:
    test = statistics.paired_test(values, above, patients, seed=_SEED)
    p = "" if test.p_value is None else f", p = {test.p_value:.2g}"
    return f"{test.difference:+.2f} dB{p}"


def detectability_rows(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """d', AUC and gain of each method, a loss that is no chance marked."""
    rows: list[tuple[str, ...]] = []
    for row in found:
        gain, lost = row["gain"], " (lost)" if row["gain"]["high"] < 0 else ""
        spread = f"{gain['mean']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]{lost}"
        prime, auc = row["d_prime"], row["auc"]
        rows.append((
            str(row["method"]),
            f"{row['radius_mm']:g}",
            f"{row['contrast_hu']:g}",
            f"{prime['mean']:.2f} [{prime['low']:.2f}, {prime['high']:.2f}]",
            f"{auc['mean']:.3f}",
            "" if row["method"] == QUARTER_DOSE else spread,
        ))
    return rows


def _curve(run: Path) -> list[dict[str, float]]:
    """Lines of validation.jsonl, epochs counted from the start of the 2D training."""
    first = config.parse(checkpoints.read_config(run)).optim.first_epoch
    lines = logs.read_jsonl(run / "validation.jsonl")
    return [{**line, "epoch": line["epoch"] + first} for line in lines]


def _figure(
    folder: Path,
    name: str,
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    about: Mapping[str, Any],
) -> str:
    path = folder / f"{name}.png"
    report.draw_curves(path, curves, f"protocol {about['protocol']}, {about['feature_network']}")
    return html_page.figure(path.read_bytes(), ", ".join(curves))


def _markdown(
    title: str,
    about: Mapping[str, Any],
    rows: Sequence[Sequence[str]],
    found: Sequence[Sequence[str]],
) -> str:
    def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
        return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]

    parts = [f"# {title}", "", f"{about['store']}. {about['protocol_description']}.", ""]
    parts += [*table(_HEADS, rows), _note(about), "", "## Detectability", ""]
    return "\n".join([*parts, *table(_FOUND_HEADS, found), _OBSERVER, ""])
