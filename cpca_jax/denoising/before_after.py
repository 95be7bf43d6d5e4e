"""What denoising did to a series, in numbers and pictures: noise and mean HU by tissue."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from cpca_jax.data.collections.doses import noise_of_slice
from cpca_jax.runtime import html
from cpca_jax.units import DISPLAY, Window

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
        noise = noise_of_slice(before, after)
        if noise:
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
    rows: list[list[html.Panel]] = []
    for z, before, after in slices:
        removed = before - after
        reach = max(round(float(np.percentile(np.abs(removed), 99))), 1)
        rows.append([
            (f"slice {z + 1} before", before, DISPLAY),
            ("after", after, DISPLAY),
            ("before - after", removed, Window(-reach, reach)),
        ])
    return html.panels(rows)


def page(title: str, lead: str, effect: Effect, png: bytes) -> str:
    """A self-contained HTML page about one series; holds no patient attribute.

    Args:
        title: name of the series.
        lead: what was done to it, one sentence.
        effect: the numbers.
        png: the montage.
    """
    noise = html.paragraph("No soft tissue to measure noise in.")
    if effect.noise_before_hu is not None and effect.noise_after_hu is not None:
        row = (f"{effect.noise_before_hu:.1f}", f"{effect.noise_after_hu:.1f}")
        noise = html.table(("", "before", "after"), [("noise in soft tissue, HU", *row)])
    drift = [
        (
            tissue,
            *(f"{edge:g}" for edge in TISSUES[tissue]),
            f"{100 * effect.share[tissue]:.1f} %",
            f"{change:+.2f}",
        )
        for tissue, change in effect.drift_hu.items()
    ]
    parts = [
        html.paragraph(lead),
        noise,
        html.table(("tissue", "HU from", "to", "share of pixels", "mean change, HU"), drift),
        html.figure(png, "before, after and difference"),
        html.paragraph(
            "For research: the network was trained on other scans than this one. Look for "
            "structure in the difference: noise has none."
        ),
    ]
    return html.page(title, parts)
