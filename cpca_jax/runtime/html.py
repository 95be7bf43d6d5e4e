"""Pages that open anywhere: one HTML file with its tables and figures inside."""

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence

import matplotlib
import numpy as np
from jaxtyping import Shaped
from matplotlib.figure import Figure

from cpca_jax.units import Window

matplotlib.use("Agg")

# A panel: what it is called, a slice in HU (y x), and the window it is shown in.
Panel = tuple[str, Shaped[np.ndarray, "y x"], Window]

_NUMBER = re.compile(r"[+-]?\d[^a-zA-Z]*(\(([a-z ]+|p = .*)\))?")

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:66em;margin:2em auto;padding:0 1em;"
    "color:#222}table{border-collapse:collapse;margin:.8em 0}td,th{padding:.2em .8em;"
    "text-align:left;border-bottom:1px solid #ccc}td.n{text-align:right}"
    "td.m{background:#fbd9d3}img{max-width:100%}"
)


def page(title: str, parts: Iterable[str]) -> str:
    """A page of these parts under its title."""
    head = f"<meta charset='utf-8'><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    body = f"<h1>{html.escape(title)}</h1>{''.join(parts)}"
    return f"<!doctype html>\n<html lang='en'><head>{head}</head><body>{body}</body></html>\n"


def heading(text: str) -> str:
    """A heading of the second level."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def bullets(title: str, items: Sequence[str]) -> str:
    """A heading with a count, and its items; nothing where there are none."""
    shown = "".join(f"<li>{html.escape(item)}</li>" for item in items)
    return f"{heading(f'{title} ({len(items)})')}<ul>{shown}</ul>" if items else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, marked: str = "") -> str:
    """A table; numbers, with their interval or p-value, stand to the right.

    Args:
        heads: of the columns.
        rows: of cells.
        marked: cells with these words in them stand out.
    """

    def cell(value: object) -> str:
        text = str(value)
        number = " class='n'" if _NUMBER.fullmatch(text) else ""
        if marked and marked in text:
            number = " class='n m'"
        return f"<td{number}>{html.escape(text)}</td>"

    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    named = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    return f"<table><tr>{named}</tr>{body}</table>"


def figure(png: bytes, described: str) -> str:
    """A figure inside the page."""
    data = base64.b64encode(png).decode()
    return f"<p><img alt='{html.escape(described)}' src='data:image/png;base64,{data}'></p>"


def panels(rows: Sequence[Sequence[Panel]]) -> bytes:
    """PNG of slices side by side, as many rows as given; each panel's window stands above it."""
    columns = max(map(len, rows))
    drawing = Figure(figsize=(4.1 * columns, 4.4 * len(rows)), layout="constrained")
    axes = drawing.subplots(len(rows), columns, squeeze=False)
    for row, places in zip(rows, axes, strict=True):
        for (title, image, window), place in zip(row, places, strict=True):
            place.imshow(image, cmap="gray", vmin=window.low, vmax=window.high)
            place.set_title(f"{title}, {window}", fontsize=10)
            place.set_axis_off()
    stream = io.BytesIO()
    # Without the program's name, so that the same slices give the same bytes.
    drawing.savefig(stream, format="png", dpi=90, metadata={"Software": None})
    return stream.getvalue()
