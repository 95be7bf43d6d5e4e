"""The figure of one slice by several methods, as in the deck's case studies."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cpca_jax.evaluation.scoring import SliceScore
from cpca_jax.metrics.table import drawn
from cpca_jax.runtime import figures, files
from cpca_jax.units import DISPLAY, Window

# The edge of the zoomed region as a share of the slice: 96 of 512 pixels.
_SHARE = 96 / 512


def draw_case(
    path: Path,
    images_hu: Mapping[str, np.ndarray],
    scores: Mapping[str, SliceScore],
    roi: tuple[int, int],
    *,
    display: Window = DISPLAY,
    title: str,
    columns: int = 0,
) -> None:
    """Draw one slice by every method, and below all of them the zoomed region.

    Args:
        path: The PNG file to write.
        images_hu: The slice (y, x) in HU by method, full dose last.
        scores: The scores of the slice by method; full dose has none.
        roi: The centre (y, x) of the zoomed region, in pixels.
        display: The HU window, which the figure states.
        title: The title of the figure; the window is added to it.
        columns: The number of methods side by side; 0 for all of them.
    """
    columns = columns or len(images_hu)
    rows = -(-len(images_hu) // columns)
    figure = figures.new_figure(3.0 * columns, 0.5 + 3.2 * 2 * rows)
    grid = figure.subplots(2 * rows, columns, squeeze=False)
    for place in grid.flat:
        place.set_axis_off()
    corner, zoom = _region(next(iter(images_hu.values())).shape, roi)
    top, left = corner
    for number, (method, image) in enumerate(images_hu.items()):
        row, column = divmod(number, columns)
        whole, part = grid[row, column], grid[rows + row, column]
        _show(whole, image, display)
        whole.add_patch(
            Rectangle((left, top), zoom, zoom, fill=False, edgecolor="#ffb000", linewidth=1.2)
        )
        whole.set_title(method, fontsize=11)
        if method in scores:
            own = scores[method].scores
            caption = "   ".join(f"{m.label} {m.show(own[name])}" for name, m in drawn().items())
            whole.set_xlabel(caption, fontsize=9)
        _show(part, image[top : top + zoom, left : left + zoom], display)
        if rows > 1:
            part.set_title(method, fontsize=9)
    grid[rows, 0].set_ylabel(f"{zoom} x {zoom} pixels", fontsize=9)
    figure.suptitle(f"{title}; display window {display}", fontsize=11)
    files.write_file(path, figures.png(figure))


def _region(shape: tuple[int, ...], roi: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Return (top, left) and the edge of the zoomed region, moved inside the slice, in pixels."""
    zoom = round(_SHARE * min(shape))
    top, left = (int(np.clip(c - zoom // 2, 0, n - zoom)) for c, n in zip(roi, shape, strict=True))
    return (top, left), zoom


def busiest_place(full_hu: np.ndarray, *, display: Window = DISPLAY) -> tuple[int, int]:
    """Return the centre (y, x) of the region with the most soft-tissue structure, in pixels.

    It is for slices without a known lesion. Air and bone are outside the window and count as flat.
    """
    clipped = np.clip(full_hu, display.low, display.high)
    inside = (full_hu > display.low) & (full_hu < display.high)
    size = max(1, round(_SHARE * min(full_hu.shape)))
    blocks = [s // size for s in clipped.shape]
    shape = (blocks[0], size, blocks[1], size)
    rows, cols = blocks[0] * size, blocks[1] * size
    structure = clipped[:rows, :cols].reshape(shape).std(axis=(1, 3))
    tissue = inside[:rows, :cols].reshape(shape).mean(axis=(1, 3))
    best = np.unravel_index(np.argmax(structure * (tissue > 0.8) + tissue * 1e-3), structure.shape)
    return int(best[0]) * size + size // 2, int(best[1]) * size + size // 2


def _show(axes: Axes, image_hu: np.ndarray, display: Window) -> None:
    axes.imshow(image_hu, cmap="gray", vmin=display.low, vmax=display.high, interpolation="nearest")
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
