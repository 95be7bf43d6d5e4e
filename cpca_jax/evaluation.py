"""Scoring denoised volumes, slice by slice, under a named protocol."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from cpca_jax import perceptual
from cpca_jax.data.store import PairedSeries
from cpca_jax.denoiser import TrainedModel, denoise_slices, denoise_volume, load_run
from cpca_jax.pretrained import FeatureNetwork
from cpca_jax.protocols import Protocol
from cpca_jax.types import Params

__all__ = [
    "SliceScore",
    "TrainedModel",
    "denoise_volume",
    "evaluate_series",
    "load_run",
    "mean_scores",
    "middle",
    "score_slices",
]

QUARTER_DOSE = "quarter dose"
METRICS = ("psnr", "ssim", "rmse_hu", "perceptual")


@dataclasses.dataclass(frozen=True)
class SliceScore:
    """The scores of one slice by one method."""

    method: str
    series: str
    patient: str
    slice: int
    psnr: float
    ssim: float
    rmse_hu: float
    perceptual: float


def evaluate_series(
    models: Sequence[TrainedModel],
    series: PairedSeries,
    protocol: Protocol,
    features: FeatureNetwork,
    *,
    batch: int = 4,
    chosen: range | None = None,
) -> Iterator[tuple[list[SliceScore], Mapping[str, np.ndarray]]]:
    """Score quarter dose and each model on a paired series, a few slices at a time.

    A 3D model sees true neighbours only: where slices are missing, the ends of the stretch are
    replicated like a volume's.

    Args:
        models: the methods besides quarter dose.
        series: the pair of volumes.
        protocol: how slices are scored.
        features: the feature network of the perceptual metric.
        batch: slices at once.
        chosen: which slices of the series; by default all.

    Yields:
        Scores of some slices, and those slices (n, y, x) in HU by method, "full dose" included.
    """
    chosen = range(len(series.full)) if chosen is None else chosen
    deepest = max((model.slices for model in models), default=1)
    stretches = series.runs if deepest > 1 else ((0, len(series.full)),)
    outside = {m.name: "clip" if m.window.contains(protocol.window) else "restore" for m in models}
    for start, stop, (first, last) in _parts(stretches, chosen, batch):
        images = {QUARTER_DOSE: series.quarter[start:stop].astype(np.float32)}
        neighbours = series.quarter[first:last]
        for model in models:
            part = denoise_slices(
                model, neighbours, start - first, batch, outside=outside[model.name]
            )
            images[model.name] = part[: stop - start]
        full = series.full[start:stop].astype(np.float32)
        scores = score_slices(images, full, protocol, features, batch=batch)
        rows = [
            SliceScore(
                method, series.name, series.patient, start + k, *(float(s[m][k]) for m in METRICS)
            )
            for method, s in scores.items()
            for k in range(stop - start)
        ]
        yield rows, images | {"full dose": full}


def _parts(
    stretches: Sequence[tuple[int, int]], chosen: range, batch: int
) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """(start, stop) of at most `batch` chosen slices, and the stretch of neighbours they lie in."""
    for first, last in stretches:
        for start in range(max(first, chosen.start), min(last, chosen.stop), batch):
            yield start, min(start + batch, last, chosen.stop), (first, last)


def score_slices(
    images: Mapping[str, Float[np.ndarray, "n y x"]],
    full: Float[np.ndarray, "n y x"],
    protocol: Protocol,
    features: FeatureNetwork,
    *,
    batch: int,
) -> dict[str, dict[str, np.ndarray]]:
    """All metrics of each method's slices (n <= batch) against full dose; HU in.

    The last batch is padded by repeating its last slice, so that each shape compiles once.
    """

    def padded(slices: np.ndarray) -> Array:
        return jnp.asarray(slices[np.minimum(np.arange(batch), len(slices) - 1)])

    target = padded(full)
    reference = _reference(features.params, target, protocol=protocol, spec=features.spec)
    return {
        method: jax.tree.map(
            np.asarray,
            _score(
                features.params,
                padded(slices),
                target,
                reference,
                protocol=protocol,
                spec=features.spec,
            ),
        )
        for method, slices in images.items()
    }


def middle(series: PairedSeries, count: int) -> range:
    """`count` neighbouring slices in the middle of a series; all of them if it has fewer."""
    total = len(series.full)
    count = min(count, total) if count else total
    start = (total - count) // 2
    return range(start, start + count)


def mean_scores(rows: Sequence[SliceScore]) -> dict[str, dict[str, float]]:
    """Mean over slices of every metric, by method, in order of appearance."""
    methods = dict.fromkeys(row.method for row in rows)
    return {
        method: {
            metric: float(np.mean([getattr(r, metric) for r in rows if r.method == method]))
            for metric in METRICS
        }
        for method in methods
    }


@partial(jax.jit, static_argnames=("protocol", "spec"))
def _reference(
    params: Params, target_hu: Array, *, protocol: Protocol, spec: perceptual.FeatureSpec
) -> Array:
    """Features of full dose, the same for every method."""
    return perceptual.features(params, protocol.window.normalise(target_hu)[..., None], spec=spec)


@partial(jax.jit, static_argnames=("protocol", "spec"))
def _score(
    params: Params,
    images_hu: Array,
    target_hu: Array,
    reference: Array,
    *,
    protocol: Protocol,
    spec: perceptual.FeatureSpec,
) -> dict[str, Array]:
    images = protocol.window.normalise(images_hu)[..., None]
    features = perceptual.features(params, images, spec=spec)
    distance = perceptual.feature_distance(features, reference)
    return protocol.score(images_hu, target_hu) | {"perceptual": distance}
