"""Figures as PNG bytes: drawn without a display, the same bytes for the same numbers.

matplotlib is imported by the first figure. Nothing in it is set for the whole process: neither a
backend nor pyplot is used.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from cpca_jax.units import Window

if TYPE_CHECKING:
    import matplotlib.figure

# A panel: its title, a slice (y x) in HU, and the window in which the slice is shown.
Panel = tuple[str, Shaped[np.ndarray, "y x"], Window]


def new_figure(width: float, height: float) -> "matplotlib.figure.Figure":
    """Return an empty figure whose parts make room for each other.

    Args:
        width: The width in inches.
        height: The height in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: "matplotlib.figure.Figure", *, dpi: int = 110) -> bytes:
    """Return a figure as PNG.

    Args:
        figure: A figure made by `new_figure`.
        dpi: The resolution in pixels per inch.
    """
    stream = io.BytesIO()
    # The file omits matplotlib's name and version, so that the same numbers give the same bytes.
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def panels(rows: Sequence[Sequence[Panel]]) -> bytes:
    """Return a PNG of slices side by side, with the window of each slice in its title.

    Args:
        rows: The rows of panels, from top to bottom, all of one length.
    """
    columns = max(map(len, rows))
    drawing = new_figure(4.1 * columns, 4.4 * len(rows))
    axes = drawing.subplots(len(rows), columns, squeeze=False)
    for row, places in zip(rows, axes, strict=True):
        for (title, image, window), place in zip(row, places, strict=True):
            place.imshow(image, cmap="gray", vmin=window.low, vmax=window.high)
            place.set_title(f"{title}, {window}", fontsize=10)
            place.set_axis_off()
    return png(drawing, dpi=90)
