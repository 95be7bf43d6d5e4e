"""The effect of denoising on a series, in numbers and pictures: noise and mean HU by tissue."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from cpca_jax.data.collections.doses import noise_of_slice
from cpca_jax.runtime import figures, pages
from cpca_jax.units import DISPLAY, Window

ImageHU = Float32[np.ndarray, "y x"]

# HU of the tissues that a radiologist names so. The mean of before and after decides, so that
# neither the noise of the one nor the smoothing of the other moves pixels between tissues.
TISSUES = {
    "air": (-2000.0, -900.0),
    "lung": (-900.0, -500.0),
    "fat": (-150.0, -30.0),
    "soft tissue": (0.0, 100.0),
    "bone": (200.0, 3000.0),
}


@dataclasses.dataclass(frozen=True)
class Effect:
    """The effect of denoising on a series.

    Attributes:
        noise_before_hu: The median over slices of the high-frequency noise in soft tissue, in HU;
            None where no slice has enough soft tissue.
        noise_after_hu: The same after denoising.
        drift_hu: The mean change in HU, by tissue.
        share: The share of all pixels, by tissue.
    """

    noise_before_hu: float | None
    noise_after_hu: float | None
    drift_hu: Mapping[str, float]
    share: Mapping[str, float]


class EffectMeter:
    """A measurement slice by slice that holds only sums."""

    def __init__(self) -> None:
        self._noise: list[tuple[float, float]] = []
        self._change = dict.fromkeys(TISSUES, 0.0)
        self._pixels = dict.fromkeys(TISSUES, 0)
        self._all = 0

    def add(self, before: ImageHU, after: ImageHU) -> None:
        """Add one slice (y, x), in HU before and after denoising."""
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
        """Return the effect over the slices added so far."""
        before, after = np.median(self._noise, axis=0) if self._noise else (None, None)
        present = [tissue for tissue in TISSUES if self._pixels[tissue]]
        return Effect(
            None if before is None else float(before),
            None if after is None else float(after),
            {tissue: self._change[tissue] / self._pixels[tissue] for tissue in present},
            {tissue: self._pixels[tissue] / self._all for tissue in present},
        )


def montage(slices: Sequence[tuple[int, ImageHU, ImageHU]]) -> bytes:
    """Return a PNG of some slices: before, after and difference, one row per slice.

    Args:
        slices: The number of each slice, and the slice (y, x) in HU before and after.
    """
    rows: list[list[figures.Panel]] = []
    for z, before, after in slices:
        removed = before - after
        reach = max(round(float(np.percentile(np.abs(removed), 99))), 1)
        rows.append([
            (f"slice {z + 1} before", before, DISPLAY),
            ("after", after, DISPLAY),
            ("before - after", removed, Window(-reach, reach)),
        ])
    return figures.panels(rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Page:
    """The data of series.html.jinja.

    Attributes:
        title: The name of the series.
        lead: One sentence that says what was done to the series.
        noise: The noise in HU before and after; empty where there is no soft tissue.
        tissues: Rows of name, lowest and highest HU, share of the pixels and mean change in HU.
        png: The montage.
    """

    title: str
    lead: str
    noise: Sequence[str]
    tissues: Sequence[tuple[str, str, str, str, str]]
    png: bytes


def page(title: str, lead: str, effect: Effect, png: bytes) -> str:
    """Return a self-contained HTML page about one series, without any patient attribute.

    Args:
        title: The name of the series.
        lead: One sentence that says what was done to the series.
        effect: The measured effect.
        png: The montage.
    """
    before, after = effect.noise_before_hu, effect.noise_after_hu
    noise = [] if before is None or after is None else [f"{before:.1f}", f"{after:.1f}"]
    tissues = []
    for tissue, change in effect.drift_hu.items():
        low, high = TISSUES[tissue]
        share = f"{100 * effect.share[tissue]:.1f} %"
        tissues.append((tissue, f"{low:g}", f"{high:g}", share, f"{change:+.2f}"))
    return pages.render("series.html.jinja", Page(title, lead, noise, tissues, png))
