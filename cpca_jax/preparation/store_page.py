"""A page about a preparation: series, refusals, measurements, splits and some slices.

The page is one HTML file with its figures inside. It names patients by their keys
(`folders.patient_key`) and holds no attribute of theirs. Its slices are images of patients, and
need the same protection as the store.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cpca_jax.data.collections import pairs
from cpca_jax.data.collections.published import KNOWN_DEFECTS
from cpca_jax.data.collections.sources import Gathered
from cpca_jax.data.scan import FoundScans, Scan
from cpca_jax.errors import ConfigError
from cpca_jax.preparation.pair_reader import Outcome
from cpca_jax.runtime import figures, pages
from cpca_jax.runtime.files import require_outside
from cpca_jax.types import SliceHU
from cpca_jax.units import DISPLAY, Window

PAGE = "prepare.html"
# The number of series with a slice on the page.
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
    """The findings of a preparation.

    Attributes:
        gathered: the series, and the files that could not be used.
        refused: the reason for each series without a partner.
        alone: patients with full dose only.
        outcomes: the result for each pair.
        splits: the split of each patient.
        split_by: the way the split was made.
    """

    gathered: Gathered
    refused: tuple[str, ...]
    alone: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    splits: dict[str, str]
    split_by: str

    @property
    def all_refused(self) -> list[str]:
        """Every reason for a refusal, in the order of the checks."""
        pixels = [outcome.refused for outcome in self.outcomes if outcome.refused]
        found = self.gathered.found
        return [*found.refused, *self.refused, *pixels]


def by_patient(found: Sequence[Scan]) -> dict[str, list[Row]]:
    """Return a row for each scan, by patient."""
    rows: dict[str, list[Row]] = {}
    for one in found:
        thickness = f"{one.thickness_mm:g} mm" if one.thickness_mm else "unknown thickness"
        row = Row(
            patient=one.patient,
            dose=one.dose_level or "unknown dose",
            kernel=one.kernel,
            thickness=thickness,
            slices=one.shape[0],
            step=_step(one),
        )
        rows.setdefault(one.patient, []).append(row)
    return rows


def _step(one: Scan) -> str:
    """Return the distances of consecutive slices in words; "" for one slice."""
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
        ConfigError: `path` is no .html file, or lies within an input folder.
    """
    if path.suffix != ".html":
        raise ConfigError(f"--report is {path.name}, must end in .html")
    require_outside(path, inputs, error=ConfigError, flag="--report")


@dataclasses.dataclass(frozen=True, eq=False)
class Page:
    """The data of store.html.jinja.

    Attributes:
        kind: the kind of the input.
        layout: the layout of the input.
        pairs: the number of usable pairs.
        slices: the number of their slices.
        patients: the number of patients with a split.
        found: the series.
        left_out: files that are no part of a series, in words.
        alone: patients with full dose only.
        known_defects: the known defects of published patients, in words.
        notes: notes on the series, in words.
        refused: every reason for a refusal.
        noise: rows of series, slices, full and low dose in HU, and their ratio.
        split_by: the way the split was made.
        splits: rows of split, number of patients, number of slices, and the patients' keys.
        examples: the PNG of a slice by the name of its series.
    """

    kind: str
    layout: str
    pairs: int
    slices: int
    patients: int
    found: Sequence[tuple[str | int, ...]]
    left_out: Sequence[str]
    alone: Sequence[str]
    known_defects: Sequence[str]
    notes: Sequence[str]
    refused: Sequence[str]
    noise: Sequence[tuple[str | int, ...]]
    split_by: str
    splits: Sequence[tuple[str | int, ...]]
    examples: Mapping[str, bytes]


def render(summary: Summary) -> str:
    """Return the page as HTML, complete in itself."""
    found = summary.gathered.found
    usable = [outcome for outcome in summary.outcomes if not outcome.refused]
    rows = [row for rows in by_patient(found.scans).values() for row in rows]
    defects = {
        row.patient: KNOWN_DEFECTS[row.patient] for row in rows if row.patient in KNOWN_DEFECTS
    }
    page = Page(
        kind=summary.gathered.kind,
        layout=summary.gathered.layout,
        pairs=len(usable),
        slices=sum(len(outcome.info.positions_mm) for outcome in usable),
        patients=len(summary.splits),
        found=[dataclasses.astuple(row) for row in rows],
        left_out=[f"{count} {what}" for count, what in left_out(found)],
        alone=summary.alone,
        known_defects=[f"{patient}: {what}" for patient, what in defects.items()],
        notes=found.notes,
        refused=summary.all_refused,
        noise=[_noise_row(outcome) for outcome in usable],
        split_by=summary.split_by,
        splits=_split_rows(summary, usable),
        examples={
            outcome.info.name: _draw(*outcome.example) for outcome in usable if outcome.example
        },
    )
    return pages.render("store.html.jinja", page)


def _noise_row(outcome: Outcome) -> tuple[str | int, ...]:
    slices = len(outcome.info.positions_mm)
    if outcome.noise is None:
        return outcome.info.name, slices, "no soft tissue", "", ""
    full, low = outcome.noise
    ratio = f"{low / full:.2f}" if full else ""
    return outcome.info.name, slices, f"{full:.1f}", f"{low:.1f}", ratio


def _split_rows(summary: Summary, usable: Sequence[Outcome]) -> list[tuple[str | int, ...]]:
    rows: list[tuple[str | int, ...]] = []
    for split in pairs.SPLITS:
        members = sorted(p for p, assigned in summary.splits.items() if assigned == split)
        slices = sum(len(o.info.positions_mm) for o in usable if o.info.patient in members)
        rows.append((split, len(members), slices, ", ".join(members)))
    return rows


def _draw(full: SliceHU, low: SliceHU) -> bytes:
    """Return a PNG of full dose, low dose and their difference."""
    full_hu, low_hu = full.astype(np.float32), low.astype(np.float32)
    return figures.panels([
        [
            ("full dose", full_hu, DISPLAY),
            ("low dose", low_hu, DISPLAY),
            ("low - full", low_hu - full_hu, _DIFFERENCE),
        ]
    ])
