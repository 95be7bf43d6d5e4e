"""Draw docs/dose_simulation.png and print its numbers: python docs/make_dose_simulation_figure.py.

The figure compares real quarter minus full dose with a quarter dose simulated from the full dose
alone. It needs the folder mayo-2016 in CPCA_DATA, by default ../shared/data, and takes two minutes
of CPU.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from cpca_jax.data.collections import pairs  # noqa: E402
from cpca_jax.data.collections.pairs import Pair  # noqa: E402
from cpca_jax.data.dicom import search  # noqa: E402
from cpca_jax.runtime import logs  # noqa: E402
from cpca_jax.simulation.calibration import Calibration, calibrate  # noqa: E402
from cpca_jax.simulation.noise import Spectrum, find_flat_patches, radial_spectrum  # noqa: E402
from cpca_jax.simulation.physics import lower_dose  # noqa: E402
from cpca_jax.types import VolumeHU  # noqa: E402
from cpca_jax.units import AIR_HU  # noqa: E402

DOSE, SEED = 0.25, 1
TISSUES = ("soft tissue", "fat", "near bone", "lung")
KERNELS = {"B30f": "smooth kernel (B30f)", "D45f": "sharp kernel (D45f)"}
FEWEST_PIXELS = 500
COLOURS = {"real": "#444444", "simulated": "#d95f02"}


@dataclasses.dataclass(frozen=True)
class Noise:
    """The noise that a quarter dose adds to a series.

    Attributes:
        sd_hu: The standard deviation by tissue, HU; tissues with few pixels are left out.
        flat_sd_hu: The standard deviation in the flat patches, HU.
        spectrum: The noise power spectrum in the flat patches.
    """

    sd_hu: dict[str, float]
    flat_sd_hu: float
    spectrum: Spectrum


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The noise that the real and the simulated quarter dose add to one series."""

    label: str
    kernel: str
    fitted: Calibration
    real: Noise
    simulated: Noise

    def ratio(self, tissue: str) -> float | None:
        """Return simulated over real standard deviation, None where there is too little tissue."""
        if tissue not in self.real.sd_hu:
            return None
        return self.simulated.sd_hu[tissue] / self.real.sd_hu[tissue]


def find_mayo(folder: Path) -> Sequence[Pair]:
    """Return the pairs of the challenge's slices in a folder of data."""
    found, _ = pairs.find_pairs(search.find_series(folder / "mayo-2016").series)
    return found


def compare(pair: Pair) -> Comparison:
    """Read both doses of a pair and compare them."""
    return compare_doses(
        pair.full.read(),
        pair.low.read(),
        spacing_mm=pair.full.spacing_mm[0],
        label=pair.label,
        kernel=pair.full.kernel,
    )


def compare_doses(
    full: VolumeHU, real: VolumeHU, *, spacing_mm: float, label: str, kernel: str
) -> Comparison:
    """Simulate a quarter dose, blind to the real one, and measure both."""
    fitted = calibrate(full, spacing_mm=spacing_mm)
    options = {"spacing_mm": spacing_mm, "dose": DOSE, "seed": SEED}
    simulated = lower_dose(full, scanner=fitted.scanner, **options)
    # The real one is clipped at the lowest stored value.
    simulated = np.maximum(np.rint(simulated), AIR_HU)
    masks = tissues(full, spacing_mm)
    patches = find_flat_patches(full, spacing_mm=spacing_mm)

    def measure(volume: Num[np.ndarray, "z y x"]) -> Noise:
        added = volume - full.astype(np.float32)
        residuals = patches.residuals(added)
        return Noise(
            {name: float(added[mask].std()) for name, mask in masks.items()},
            float(residuals.std()),
            radial_spectrum(residuals, spacing_mm=spacing_mm),
        )

    return Comparison(label, kernel, fitted, measure(real), measure(simulated))


def tissues(
    full: Num[np.ndarray, "z y x"], spacing_mm: float
) -> dict[str, Bool[np.ndarray, "z y x"]]:
    """Return the place of each tissue, from the blurred full dose, 2 mm from everything else."""
    blur = 2 / spacing_mm
    smooth = scipy.ndimage.gaussian_filter(full.astype(np.float32), (0, blur, blur))
    body = np.stack([scipy.ndimage.binary_fill_holes(image > -300) for image in smooth])
    bone = smooth > 250
    away = np.stack([scipy.ndimage.distance_transform_edt(~image) for image in bone])
    # A slice without bone has none near.
    near = (away * spacing_mm < 12) & (away * spacing_mm > 2) & bone.any((1, 2))[:, None, None]
    soft = (smooth > 0) & (smooth < 150)
    found = {
        "soft tissue": soft & ~near,
        "fat": (smooth > -140) & (smooth < -60) & ~near,
        "near bone": soft & near,
        "lung": (smooth > -950) & (smooth < -700) & body,
    }
    reach = np.ones((1, 3, 3))
    eroded = {
        name: scipy.ndimage.binary_erosion(mask, reach, iterations=max(1, round(blur)))
        for name, mask in found.items()
    }
    return {name: mask for name, mask in eroded.items() if mask.sum() >= FEWEST_PIXELS}


def draw(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Draw bars of SD by tissue and curves of spectra, one row per kernel."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    for row, (kernel, title) in zip(figure.subplots(2, 2), KERNELS.items(), strict=True):
        own = [one for one in comparisons if one.kernel == kernel]
        _draw_tissues(row[0], own)
        _draw_spectra(row[1], own)
        row[0].set_title(f"{title}: SD of what a quarter dose adds")
        row[1].set_title(f"{title}: its noise power spectrum")
    figure.savefig(path, dpi=110)


def _draw_tissues(axes: Axes, own: Sequence[Comparison]) -> None:
    shown = [name for name in TISSUES if any(name in one.real.sd_hu for one in own)]
    for offset, name in ((-0.2, "real"), (0.2, "simulated")):
        noises: list[Noise] = [getattr(one, name) for one in own]
        every = [[n.sd_hu[t] for n in noises if t in n.sd_hu] for t in shown]
        heights = [float(np.sqrt(np.mean(np.square(values)))) for values in every]
        places = np.arange(len(shown)) + offset
        bars = axes.bar(places, heights, 0.38, color=COLOURS[name], label=name)
        axes.bar_label(bars, fmt="%.1f", fontsize=9)
    axes.set_xticks(range(len(shown)), shown)
    axes.set_ylabel("SD (HU), root mean square of the series")
    axes.margins(y=0.15)
    axes.legend(frameon=False)


def _draw_spectra(axes: Axes, own: Sequence[Comparison]) -> None:
    bins = min(len(one.real.spectrum.power) for one in own)
    for name, style in (("real", "-"), ("simulated", "--")):
        spectra: list[Spectrum] = [getattr(one, name).spectrum for one in own]
        power = np.mean([one.power[:bins] for one in spectra], axis=0)
        frequency = spectra[0].frequency_per_mm[:bins]
        axes.plot(frequency, power, style, color=COLOURS[name], lw=2, label=name)
    axes.set_xlabel("spatial frequency (1/mm)")
    axes.set_ylabel("power (HU² mm²), mean of the series")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def main() -> None:
    """Compare all series, print the measurements and draw."""
    folder = Path(os.environ.get("CPCA_DATA", CHECKOUT.parent / "shared" / "data"))
    comparisons = [compare(pair) for pair in find_mayo(folder)]
    for one in comparisons:
        logs.say(f"{one.label}: {one.fitted.note}")
    logs.say("| series | " + " | ".join(TISSUES) + " | flat | mean frequency (1/mm) |")
    logs.say("| --- |" + " ---: |" * (len(TISSUES) + 2))
    for one in comparisons:
        cells = [
            f"{one.simulated.sd_hu[tissue]:.1f} / {one.real.sd_hu[tissue]:.1f}"
            if tissue in one.real.sd_hu
            else ""
            for tissue in TISSUES
        ]
        cells += [f"{one.simulated.flat_sd_hu:.1f} / {one.real.flat_sd_hu:.1f}"]
        means = (one.simulated.spectrum, one.real.spectrum)
        cells += [" / ".join(f"{spectrum.mean_frequency_per_mm:.3f}" for spectrum in means)]
        logs.say(f"| {one.label} | {' | '.join(cells)} |")
    draw(Path(__file__).with_name("dose_simulation.png"), comparisons)


if __name__ == "__main__":
    main()
