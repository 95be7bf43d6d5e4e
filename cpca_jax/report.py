"""What an evaluation leaves on disk: tables, per-slice scores, figures, curves."""

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cpca_jax.evaluation import METRICS, SliceScore, mean_scores
from cpca_jax.units import DISPLAY, Window

matplotlib.use("Agg")

HEADINGS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "rmse_hu": "RMSE (HU)",
    "bias_hu": "bias (HU)",
    "perceptual": "perceptual",
}
DIGITS = {"psnr": 2, "ssim": 4, "rmse_hu": 1, "bias_hu": 1, "perceptual": 4}
ZOOM = 96


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
        store: where the slices come from, and whether the quarter dose is simulated.
        rows: one per method, quarter dose first.
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
    _write_csv(folder / "table.csv", [dataclasses.asdict(row) for row in table.rows])
    _write_csv(folder / "slices.csv", [dataclasses.asdict(score) for score in scores])


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


def draw_case(
    path: Path,
    images_hu: Mapping[str, np.ndarray],
    scores: Mapping[str, SliceScore],
    roi: tuple[int, int],
    *,
    display: Window = DISPLAY,
    title: str,
) -> None:
    """One slice by every method, and below it the zoomed region, as in the deck's case studies.

    Args:
        path: of the PNG.
        images_hu: (y, x) in HU by method, full dose last.
        scores: by method; full dose has none.
        roi: (y, x) of the region's centre, in pixels.
        display: HU window, stated in the figure.
        title: above it; the window is added.
    """
    columns = len(images_hu)
    figure = Figure(figsize=(3.0 * columns, 6.9), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False)
    rows, cols = next(iter(images_hu.values())).shape
    zoom = min(ZOOM, rows, cols)
    top = int(np.clip(roi[0] - zoom // 2, 0, rows - zoom))
    left = int(np.clip(roi[1] - zoom // 2, 0, cols - zoom))
    for column, (method, image) in enumerate(images_hu.items()):
        _show(axes[0, column], image, display)
        axes[0, column].add_patch(
            Rectangle((left, top), zoom, zoom, fill=False, edgecolor="#ffb000", linewidth=1.2)
        )
        axes[0, column].set_title(method, fontsize=11)
        if method in scores:
            s = scores[method]
            caption = f"{s.psnr:.2f} dB   SSIM {s.ssim:.3f}   perc. {s.perceptual:.3f}"
            axes[0, column].set_xlabel(caption, fontsize=9)
        _show(axes[1, column], image[top : top + zoom, left : left + zoom], display)
    axes[1, 0].set_ylabel(f"{zoom} x {zoom} pixels", fontsize=9)
    figure.suptitle(f"{title}; display window {display}", fontsize=11)
    figure.savefig(path, dpi=110)


def draw_curves(path: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]], note: str) -> None:
    """Validation PSNR, SSIM and perceptual distance by epoch, one line per run.

    Args:
        path: of the PNG.
        curves: lines of each run's validation.jsonl by the run's name.
        note: what the numbers mean (protocol, feature network).
    """
    shown = ("psnr", "ssim", "perceptual")
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 3), shown, strict=True):
        baseline = None
        for name, lines in curves.items():
            epochs = [line["epoch"] for line in lines]
            axes.plot(epochs, [line[metric] for line in lines], marker="o", ms=3, label=name)
            baseline = lines[-1].get(f"quarter_{metric}") if lines else baseline
        if baseline is not None:
            axes.axhline(baseline, color="0.5", linestyle="--", label="quarter dose")
        axes.set_title(HEADINGS[metric])
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    figure.suptitle(f"Validation; {note}", fontsize=10)
    figure.savefig(path, dpi=110)


def draw_critics(path: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """How the critics fared: gradient norm and Wasserstein estimate by step, one line per run.

    Args:
        path: of the PNG.
        curves: lines of each run's train.jsonl by the run's name.
    """
    shown = {"gradient_norm": "gradient norm", "wasserstein": "Wasserstein estimate"}
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    for axes, (scalar, title) in zip(figure.subplots(1, 2), shown.items(), strict=True):
        for name, lines in curves.items():
            steps = [line["step"] for line in lines]
            axes.plot(steps, [line[scalar] for line in lines], lw=1.2, label=name)
        # Scores of differently regularised critics differ by orders of magnitude.
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    figure.suptitle("Critics in training; norms where each penalty looks", fontsize=10)
    figure.savefig(path, dpi=110)


def busiest_place(
    full_hu: np.ndarray, *, display: Window = DISPLAY, size: int = ZOOM
) -> tuple[int, int]:
    """Centre of the region with the most soft-tissue structure, for slices without a known lesion.

    Air and bone are outside the window and count as flat.
    """
    clipped = np.clip(full_hu, display.low, display.high)
    inside = (full_hu > display.low) & (full_hu < display.high)
    blocks = [s // size for s in clipped.shape]
    if 0 in blocks:
        return clipped.shape[0] // 2, clipped.shape[1] // 2
    shape = (blocks[0], size, blocks[1], size)
    rows, cols = blocks[0] * size, blocks[1] * size
    structure = clipped[:rows, :cols].reshape(shape).std(axis=(1, 3))
    tissue = inside[:rows, :cols].reshape(shape).mean(axis=(1, 3))
    best = np.unravel_index(np.argmax(structure * (tissue > 0.8) + tissue * 1e-3), structure.shape)
    return int(best[0]) * size + size // 2, int(best[1]) * size + size // 2


def _show(axes: Axes, image_hu: np.ndarray, display: Window) -> None:
    axes.imshow(image_hu, cmap="gray", vmin=display.low, vmax=display.high, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


plt.rcParams["font.family"] = "DejaVu Sans"
