"""A page about a preparation: what was found, refused, measured and split, with slices.

One HTML file with its figures inside. It names patients by their keys (`folders.patient_key`)
and holds no attribute of theirs; the slices are images of patients, and belong where the
store belongs.
"""

import base64
import dataclasses
import html
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cpca_jax.data import pairs
from cpca_jax.data.published import KNOWN_DEFECTS
from cpca_jax.data.series import Found, Series
from cpca_jax.data.sources import Gathered
from cpca_jax.errors import ConfigError
from cpca_jax.reading import Outcome
from cpca_jax.units import Window

matplotlib.use("Agg")

PAGE = "prepare.html"
# Of how many series a slice is shown.
EXAMPLES = 3
_SHOWN = Window(-160, 240)
# The difference is mostly noise: shown around zero, as wide as twice the usual one.
_DIFFERENCE = Window(-100, 100)
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:62em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:.6em 0}td,th{padding:.15em .8em;text-align:left;"
    "border-bottom:1px solid #ddd}td.n{text-align:right}img{max-width:100%}"
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A series as it was found: its patient, dose, kernel, thickness, slices and step."""

    patient: str
    dose: str
    kernel: str
    thickness: str
    slices: int
    step: str


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """Everything that a preparation came to know.

    Attributes:
        gathered: the series, and what of the files could not be used.
        refused: series without a partner, and why.
        alone: patients of whom there is nothing but full dose.
        outcomes: what became of each pair.
        splits: of each patient.
        split_by: how the split was made.
    """

    gathered: Gathered
    refused: tuple[str, ...]
    alone: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    splits: dict[str, str]
    split_by: str

    @property
    def all_refused(self) -> list[str]:
        """Every reason, in the order in which they were met."""
        pixels = [outcome.refused for outcome in self.outcomes if outcome.refused]
        found = self.gathered.found
        return [*found.refused, *found.other, *self.refused, *pixels]


def by_patient(found: Sequence[Series]) -> dict[str, list[Row]]:
    """The series of each patient."""
    rows: dict[str, list[Row]] = {}
    for one in found:
        first = one.first
        thickness = f"{first.thickness_mm:g} mm" if first.thickness_mm else "unknown thickness"
        steps = one.steps_mm
        step = f"{min(steps):g}" + ("" if np.ptp(steps) < 0.01 else f" to {max(steps):g}")
        row = Row(
            patient=first.patient_key,
            dose=one.dose_level or "untold dose",
            kernel=first.kernel,
            thickness=thickness,
            slices=len(one.headers),
            step=f"{step} mm" if steps else "",
        )
        rows.setdefault(first.patient_key, []).append(row)
    return rows


def left_out(found: Found) -> list[tuple[int, str]]:
    """How many files of which kind were left out; kinds without any are not listed."""
    counts = [
        (found.foreign, "files of another kind"),
        (found.localizers, "localizers"),
        (found.projections, "projections"),
        (sum(one.duplicates for one in found.series), "identical copies of slices"),
    ]
    return [(count, what) for count, what in counts if count]


def notes(found: Found) -> list[str]:
    """What is worth knowing about the series without being a reason to refuse them."""
    lossy = [one for one in found.series if any(header.lossy for header in one.headers)]
    return [*found.notes, *(f"{one.label}: pixels were once compressed with loss" for one in lossy)]


def require_place(path: Path, inputs: Sequence[Path]) -> None:
    """Refuse places where a page may not be written.

    Raises:
        ConfigError: no .html file, or within an input folder.
    """
    if path.suffix != ".html":
        raise ConfigError(f"--report is {path.name}, must end in .html")
    if any(path.resolve().is_relative_to(folder.resolve()) for folder in inputs):
        raise ConfigError(f"--report: {path.name} lies in the input, must be outside it")


def write(path: Path, page: str) -> None:
    """Write the page, all of it or nothing.

    Raises:
        ConfigError: the disk does not take it.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch(mode=0o600)  # for the owner only, as the store
        partial.write_text(page)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"--report: {path.name}: cannot be written: {error.strerror}") from error


def render(summary: Summary) -> str:
    """The page.

    Args:
        summary: what there is to say.

    Returns:
        HTML, complete in itself.
    """
    found = summary.gathered.found
    usable = [outcome for outcome in summary.outcomes if not outcome.refused]
    slices = sum(len(outcome.info.positions_mm) for outcome in usable)
    rows = [row for rows in by_patient(found.series).values() for row in rows]
    said = [f"{count} {what}" for count, what in left_out(found)]
    known = {
        row.patient: KNOWN_DEFECTS[row.patient] for row in rows if row.patient in KNOWN_DEFECTS
    }
    parts = [
        "<h1>Prepared scans</h1>",
        _paragraph(
            f"{summary.gathered.kind}, {summary.gathered.layout}. {len(usable)} paired series, "
            f"{slices} slices, {len(summary.splits)} patients; {len(summary.all_refused)} refused."
        ),
        "<h2>Found</h2>",
        _table(
            ["patient", "dose", "kernel", "thickness", "slices", "step"],
            [dataclasses.astuple(row) for row in rows],
        ),
        _list("Left out", said),
        _list("Full dose only", summary.alone),
        _list("Known defects", [f"{patient}: {what}" for patient, what in known.items()]),
        _list("Notes", notes(found)),
        _list("Refused", summary.all_refused),
        "<h2>Noise</h2>",
        _paragraph(
            "Standard deviation of the highest frequencies in soft tissue (-200 to 300 HU), "
            "median over up to 8 slices."
        ),
        _table(["series", "slices", "full (HU)", "low (HU)", "ratio"], map(_noise_row, usable)),
        "<h2>Split</h2>",
        _paragraph(f"By patient: {summary.split_by}."),
        _table(["split", "patients", "slices", "who"], _split_rows(summary, usable)),
        "<h2>Slices</h2>",
        *(_example(outcome) for outcome in usable if outcome.example),
    ]
    head = f"<meta charset='utf-8'><title>Prepared scans</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>"


def _noise_row(outcome: Outcome) -> tuple[object, ...]:
    slices = len(outcome.info.positions_mm)
    if outcome.noise is None:
        return outcome.info.name, slices, "no soft tissue", "", ""
    full, low = outcome.noise
    ratio = f"{low / full:.2f}" if full else ""
    return outcome.info.name, slices, f"{full:.1f}", f"{low:.1f}", ratio


def _split_rows(summary: Summary, usable: Sequence[Outcome]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for split in pairs.SPLITS:
        members = sorted(p for p, assigned in summary.splits.items() if assigned == split)
        slices = sum(len(o.info.positions_mm) for o in usable if o.info.patient in members)
        rows.append((split, len(members), slices, ", ".join(members)))
    return rows


def _example(outcome: Outcome) -> str:
    assert outcome.example is not None
    full, low = (image.astype(np.float32) for image in outcome.example)
    panels = [
        ("full dose", full, _SHOWN),
        ("low dose", low, _SHOWN),
        ("low - full", low - full, _DIFFERENCE),
    ]
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    for axes, (title, image, window) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.imshow(image, cmap="gray", vmin=window.low, vmax=window.high)
        axes.set_title(f"{title}, {window}", fontsize=10)
        axes.set_axis_off()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=80, metadata={"Software": None})
    data = base64.b64encode(stream.getvalue()).decode()
    name = html.escape(f"{outcome.info.name}, middle slice")
    return f"<p>{name}</p><img alt='{name}' src='data:image/png;base64,{data}'>"


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _list(title: str, items: Sequence[str]) -> str:
    """A heading and its items; nothing where there are none."""
    shown = "".join(f"<li>{html.escape(item)}</li>" for item in items)
    return f"<h2>{title} ({len(items)})</h2><ul>{shown}</ul>" if items else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def cell(value: object) -> str:
        number = " class='n'" if isinstance(value, int | float) else ""
        return f"<td{number}>{html.escape(str(value))}</td>"

    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{body}</table>"
