"""What denoising did to a series, in numbers and pictures: noise and mean HU by tissue."""

import base64
import dataclasses
import html
import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32
from matplotlib.figure import Figure

from cpca_jax.data.doses import noise_sd_hu
from cpca_jax.units import Window

ImageHU = Float32[np.ndarray, "y x"]

# HU of what a radiologist would call so; the mean of before and after decides, so that neither
# the one's noise nor the other's smoothing moves pixels between tissues.
TISSUES = {
    "air": (-2000.0, -900.0),
    "lung": (-900.0, -500.0),
    "fat": (-150.0, -30.0),
    "soft tissue": (0.0, 100.0),
    "bone": (200.0, 3000.0),
}
_NOISE_HU = (-200.0, 300.0)
_FEWEST_PIXELS = 100
_DISPLAY = Window(-160, 240)


@dataclasses.dataclass(frozen=True)
class Effect:
    """What denoising did to a series.

    Attributes:
        noise_before_hu: median over slices of the high-frequency noise in soft tissue; None where
            no slice shows any.
        noise_after_hu: the same after denoising.
        drift_hu: by tissue the mean change, HU.
        share: by tissue its share of all pixels.
    """

    noise_before_hu: float | None
    noise_after_hu: float | None
    drift_hu: Mapping[str, float]
    share: Mapping[str, float]


class EffectMeter:
    """Measures slice by slice, holding sums only."""

    def __init__(self) -> None:
        self._noise: list[tuple[float, float]] = []
        self._change = dict.fromkeys(TISSUES, 0.0)
        self._pixels = dict.fromkeys(TISSUES, 0)
        self._all = 0

    def add(self, before: ImageHU, after: ImageHU) -> None:
        """Count one slice, HU (y x) before and after."""
        mean, change = (before + after) / 2, after - before
        for tissue, (low, high) in TISSUES.items():
            inside = (mean >= low) & (mean < high)
            self._pixels[tissue] += int(np.count_nonzero(inside))
            self._change[tissue] += float(change[inside].sum(dtype=np.float64))
        self._all += mean.size
        tissue_pixels = (mean > _NOISE_HU[0]) & (mean < _NOISE_HU[1])
        if min(mean.shape) > 2 and np.count_nonzero(tissue_pixels[1:-1, 1:-1]) >= _FEWEST_PIXELS:
            noise = noise_sd_hu(before, tissue_pixels), noise_sd_hu(after, tissue_pixels)
            self._noise.append(noise)

    def effect(self) -> Effect:
        """What was measured so far."""
        before, after = np.median(self._noise, axis=0) if self._noise else (None, None)
        present = [tissue for tissue in TISSUES if self._pixels[tissue]]
        return Effect(
            None if before is None else float(before),
            None if after is None else float(after),
            {tissue: self._change[tissue] / self._pixels[tissue] for tissue in present},
            {tissue: self._pixels[tissue] / self._all for tissue in present},
        )


def montage(slices: Sequence[tuple[int, ImageHU, ImageHU]]) -> bytes:
    """PNG of some slices: before, after and what was taken away, one row each.

    Args:
        slices: number of the slice, HU before and after (y x).
    """
    rows = len(slices)
    figure = Figure(figsize=(12.6, 4.35 * rows), layout="constrained")
    for axes, (z, before, after) in zip(
        figure.subplots(rows, 3, squeeze=False), slices, strict=True
    ):
        removed = before - after
        reach = max(float(np.percentile(np.abs(removed), 99)), 1.0)
        shown = {
            f"slice {z + 1}, before": (before, _DISPLAY),
            "after": (after, _DISPLAY),
            f"before - after, +-{reach:.0f} HU": (removed, Window(-reach, reach)),
        }
        for place, (title, (image, window)) in zip(axes, shown.items(), strict=True):
            place.imshow(image, cmap="gray", vmin=window.low, vmax=window.high)
            place.set_title(title, fontsize=11)
            place.set_axis_off()
    figure.suptitle(f"display window {_DISPLAY}", fontsize=11)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=90)
    return png.getvalue()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; margin: 1em 0 }}
th, td {{ padding: .3em .9em; border-bottom: 1px solid #ccc; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100% }}
</style></head><body>
<h1>{title}</h1>
<p>{lead}</p>
{noise}
{drift}
<p><img alt="before, after and difference" src="data:image/png;base64,{png}"></p>
<p>For research: the network was trained on other scans than this one. Look for structure in the
difference: noise has none.</p>
</body></html>
"""


def page(title: str, lead: str, effect: Effect, png: bytes) -> str:
    """A self-contained HTML page about one series; holds no patient attribute.

    Args:
        title: name of the series.
        lead: what was done to it, one sentence.
        effect: the numbers.
        png: the montage.
    """
    noise = "<p>No soft tissue to measure noise in.</p>"
    if effect.noise_before_hu is not None and effect.noise_after_hu is not None:
        row = (f"{effect.noise_before_hu:.1f}", f"{effect.noise_after_hu:.1f}")
        noise = _table(("", "before", "after"), [("noise in soft tissue, HU", *row)])
    drift = _table(
        ("tissue", "HU from", "to", "share of pixels", "mean change, HU"),
        [
            (
                tissue,
                *(f"{edge:g}" for edge in TISSUES[tissue]),
                f"{100 * effect.share[tissue]:.1f} %",
                f"{change:+.2f}",
            )
            for tissue, change in effect.drift_hu.items()
        ],
    )
    return _PAGE.format(
        title=html.escape(title),
        lead=html.escape(lead),
        noise=noise,
        drift=drift,
        png=base64.b64encode(png).decode(),
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return f"<table>{line(heads, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
