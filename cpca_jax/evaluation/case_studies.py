"""The deck's case studies: a slice with a lesion by a few methods, in the deck's HU windows."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import numpy as np

from cpca_jax.data.store.reader import PairedSeries
from cpca_jax.denoising.denoiser import Denoiser
from cpca_jax.evaluation import case_figure
from cpca_jax.evaluation.scoring import evaluate_series
from cpca_jax.metrics.protocols import Protocol
from cpca_jax.runtime import logs
from cpca_jax.units import DISPLAY, Window
from cpca_jax.weights.feature_network import FeatureNetwork

# The HU windows of the deck's two cases, in its order.
WINDOWS = (Window(-180, 200), DISPLAY)


def case_slice(series: PairedSeries, chosen: range) -> int:
    """Return the slice to draw: that of the largest known lesion in `chosen`, else the middle."""
    largest = _largest(series, chosen)
    return round(largest["z"]) if largest else chosen[len(chosen) // 2]


def case_region(series: PairedSeries, case: int, full_hu: np.ndarray) -> tuple[int, int]:
    """Return the (y, x) to show in a slice: its largest known lesion, else its busiest tissue."""
    largest = _largest(series, [case])
    if not largest:
        return case_figure.busiest_place(full_hu)
    return int(largest["y"]), int(largest["x"])


def draw_case_studies(
    folder: Path,
    models: Sequence[Denoiser],
    series: Sequence[PairedSeries],
    protocol: Protocol,
    features: FeatureNetwork,
) -> None:
    """Write case-1.png and case-2.png: one slice of each patient with one of the largest lesions.

    Args:
        folder: The folder to write to.
        models: The methods to show between low and full dose.
        series: The series of the test patients.
        protocol: The protocol of the scores under the slices.
        features: The feature network of the perceptual score.
    """
    ranked = sorted(series, key=_lesion_size, reverse=True)
    for number, (one, display) in enumerate(zip(ranked, WINDOWS, strict=False), 1):
        # Every method gets true neighbours on both sides, where the series is long enough.
        half = max((model.slices for model in models), default=1) // 2
        inner = range(half, len(one.full) - half) or range(len(one.full))
        case = case_slice(one, inner)
        chosen = range(case, case + 1)
        for rows, images in evaluate_series(
            models, one, protocol, features, batch=1, chosen=chosen
        ):
            picture = {method: image[0] for method, image in images.items()}
            case_figure.draw_case(
                folder / f"case-{number}.png",
                picture,
                {row.method: row for row in rows},
                case_region(one, case, picture["full dose"]),
                display=display,
                title=f"{one.name}, slice {case}: {_shown(one, case)}",
                columns=3,
            )
        logs.say(f"  figure case-{number}.png")


def _shown(series: PairedSeries, case: int) -> str:
    """Return words for what lies in the middle of the zoomed region."""
    largest = _largest(series, [case])
    if not largest:
        return "no lesion is known"
    return f"lesion of radius {largest['radius_mm']:.1f} mm, {largest['contrast_hu']:+.0f} HU"


def _lesion_size(series: PairedSeries) -> float:
    return max((lesion["radius_mm"] for lesion in series.lesions), default=0.0)


def _largest(series: PairedSeries, slices: Container[int]) -> Mapping[str, float] | None:
    """Return the largest known lesion whose centre lies in one of these slices."""
    lesions = [lesion for lesion in series.lesions if round(lesion["z"]) in slices]
    return max(lesions, key=lambda lesion: lesion["radius_mm"], default=None)
