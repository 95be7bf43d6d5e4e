"""Figures as PNG bytes: drawn without a display, the same bytes for the same numbers.

matplotlib is imported by the first figure, and nothing of it is set for the whole process: no
backend, no pyplot.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from cpca_jax.units import Window

if TYPE_CHECKING:
    import matplotlib.figure

# A panel: its title, a slice in HU (y x), and the window that the slice is shown in.
Panel = tuple[str, Shaped[np.ndarray, "y x"], Window]


def new_figure(width: float, height: float) -> "matplotlib.figure.Figure":
    """Return an empty figure whose parts make room for each other.

    Args:
        width: in inches.
        height: in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: "matplotlib.figure.Figure", *, dpi: int = 110) -> bytes:
    """Return a figure as PNG.

    Args:
        figure: from `new_figure`.
        dpi: pixels per inch.
    """
    stream = io.BytesIO()
    # Without the program's name and version, so that the same numbers give the same bytes.
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def panels(rows: Sequence[Sequence[Panel]]) -> bytes:
    """Return a PNG of slices side by side; the window of each stands above it.

    Args:
        rows: of panels, from top to bottom, all of one length.
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
