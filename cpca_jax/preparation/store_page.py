"""A page about a preparation: what was found, refused, measured and split, with slices.

One HTML file with its figures inside. It names patients by their keys (`folders.patient_key`)
and holds no attribute of theirs; the slices are images of patients, and belong where the
store belongs.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cpca_jax.data.collections import pairs
from cpca_jax.data.collections.published import KNOWN_DEFECTS
from cpca_jax.data.collections.sources import Gathered
from cpca_jax.data.scan import FoundScans, Scan
from cpca_jax.errors import ConfigError
from cpca_jax.preparation.pair_reader import Outcome
from cpca_jax.runtime import html
from cpca_jax.units import DISPLAY, Window

PAGE = "prepare.html"
# Of how many series a slice is shown.
EXAMPLES = 3
# The difference is mostly noise: shown around zero, as wide as twice the usual one.
_DIFFERENCE = Window(-100, 100)


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
        return [*found.refused, *self.refused, *pixels]


def by_patient(found: Sequence[Scan]) -> dict[str, list[Row]]:
    """Return the scans of each patient."""
    rows: dict[str, list[Row]] = {}
    for one in found:
        thickness = f"{one.thickness_mm:g} mm" if one.thickness_mm else "unknown thickness"
        row = Row(
            patient=one.patient,
            dose=one.dose_level or "untold dose",
            kernel=one.kernel,
            thickness=thickness,
            slices=one.shape[0],
            step=_step(one),
        )
        rows.setdefault(one.patient, []).append(row)
    return rows


def _step(one: Scan) -> str:
    """Return the distances of consecutive slices; "" for one slice."""
    steps = np.diff(one.positions_mm)
    if not steps.size:
        return ""
    if one.placement != "measured":
        return "unknown"
    return f"{steps.min():g}" + ("" if np.ptp(steps) < 0.01 else f" to {steps.max():g}") + " mm"


def left_out(found: FoundScans) -> list[tuple[int, str]]:
    """Return the number of files of each kind that were left out, without empty kinds."""
    return [(count, what) for what, count in found.left_out.items() if count]


def require_place(path: Path, inputs: Sequence[Path]) -> None:
    """Refuse places where a page may not be written.

    Raises:
        ConfigError: no .html file, or within an input folder.
    """
    if path.suffix != ".html":
        raise ConfigError(f"--report is {path.name}, must end in .html")
    if any(path.resolve().is_relative_to(folder.resolve()) for folder in inputs):
        raise ConfigError(f"--report: {path.name} lies in the input, must be outside it")


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
    rows = [row for rows in by_patient(found.scans).values() for row in rows]
    said = [f"{count} {what}" for count, what in left_out(found)]
    known = {
        row.patient: KNOWN_DEFECTS[row.patient] for row in rows if row.patient in KNOWN_DEFECTS
    }
    parts = [
        html.paragraph(
            f"{summary.gathered.kind}, {summary.gathered.layout}. {len(usable)} paired series, "
            f"{slices} slices, {len(summary.splits)} patients; {len(summary.all_refused)} refused."
        ),
        html.heading("Found"),
        html.table(
            ["patient", "dose", "kernel", "thickness", "slices", "step"],
            [dataclasses.astuple(row) for row in rows],
        ),
        html.bullets("Left out", said),
        html.bullets("Full dose only", summary.alone),
        html.bullets("Known defects", [f"{patient}: {what}" for patient, what in known.items()]),
        html.bullets("Notes", found.notes),
        html.bullets("Refused", summary.all_refused),
        html.heading("Noise"),
        html.paragraph(
            "Standard deviation of the highest frequencies in soft tissue (-200 to 300 HU), "
            "median over up to 8 slices."
        ),
        html.table(["series", "slices", "full (HU)", "low (HU)", "ratio"], map(_noise_row, usable)),
        html.heading("Split"),
        html.paragraph(f"By patient: {summary.split_by}."),
        html.table(["split", "patients", "slices", "who"], _split_rows(summary, usable)),
        html.heading("Slices"),
        *(_example(outcome) for outcome in usable if outcome.example),
    ]
    return html.page("Prepared scans", parts)


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
        ("full dose", full, DISPLAY),
        ("low dose", low, DISPLAY),
        ("low - full", low - full, _DIFFERENCE),
    ]
    name = f"{outcome.info.name}, middle slice"
    return html.paragraph(name) + html.figure(html.panels([panels]), name)
