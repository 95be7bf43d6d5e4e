"""Render rows of measurements as Markdown and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measuring.timing import Times

Row = Mapping[str, Any]
# The cell of a value that was not measured.
EMPTY = "-"


def cell(value: Any) -> str:
    """Return one value as a table shows it: times as median (least - most)."""
    if value is None:
        return EMPTY
    if isinstance(value, Times):
        if len(value.seconds) == 1:
            return number(value.median)
        return f"{number(value.median)} ({number(value.least)} - {number(value.most)})"
    return number(value) if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """Return a number with three significant digits."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:.2e}"


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return every column of any row, in the order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def render(rows: Sequence[Row]) -> str:
    """Return a Markdown table with aligned columns: text to the left, numbers to the right."""
    columns = columns_of(rows)
    lines = [columns, *([cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
    left = [any(isinstance(row.get(name), str) for row in rows) for name in columns]
    rule = [":" + "-" * (width - 1) if on else "-" * (width - 1) + ":"
            for width, on in zip(widths, left, strict=True)]  # fmt: skip
    return "\n".join(_line(line, widths, left) for line in (lines[0], rule, *lines[1:]))


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows of plain values with every column in each; null where nothing was measured."""
    columns = columns_of(rows)
    return [{name: _plain(row.get(name)) for name in columns} for row in rows]


def _plain(value: Any) -> Any:
    return value.as_json() if isinstance(value, Times) else value


def _line(cells: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> str:
    padded = [
        text.ljust(width) if on else text.rjust(width)
        for text, width, on in zip(cells, widths, left, strict=True)
    ]
    return f"| {' | '.join(padded)} |"
