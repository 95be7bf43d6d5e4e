"""The scoring of denoised volumes, slice by slice, under a named protocol."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from cpca_jax.data.store.reader import PairedSeries
from cpca_jax.denoising.denoiser import Denoiser, denoise_slices
from cpca_jax.metrics import METRICS, Compared, Metric
from cpca_jax.metrics.protocols import Protocol
from cpca_jax.objectives import perceptual
from cpca_jax.types import Params
from cpca_jax.units import Window
from cpca_jax.weights.feature_network import FeatureNetwork

LOW_DOSE = "low dose"


@dataclasses.dataclass(frozen=True)
class SliceScore:
    """The scores of one slice by one method, by the names of the metrics."""

    method: str
    series: str
    patient: str
    slice: int
    scores: Mapping[str, float]

    def as_row(self) -> dict[str, Any]:
        """Return the scores as a row of a table, with a column for each metric."""
        own = {"method": self.method, "series": self.series}
        return own | {"patient": self.patient, "slice": self.slice} | dict(self.scores)


def evaluate_series(
    models: Sequence[Denoiser],
    series: PairedSeries,
    protocol: Protocol,
    features: FeatureNetwork,
    *,
    batch: int = 4,
    chosen: range | None = None,
) -> Iterator[tuple[list[SliceScore], Mapping[str, np.ndarray]]]:
    """Score low dose and each model on a paired series, a few slices at a time.

    A 3D model sees only true neighbours: where slices are missing, the slices at the end of a
    stretch are replicated, as at the ends of a volume.

    Args:
        models: The methods besides low dose.
        series: The pair of volumes.
        protocol: The protocol by which slices are scored.
        features: The feature network of the perceptual metric.
        batch: The number of slices at once.
        chosen: The slices of the series to score; by default all.

    Yields:
        Scores of some slices, and those slices (n, y, x) in HU by method, "full dose" included.
    """
    chosen = range(len(series.full)) if chosen is None else chosen
    deepest = max((model.slices for model in models), default=1)
    outside = {m.name: outside_of(m.window, protocol) for m in models}
    for start, stop, (first, last) in slice_parts(series, chosen, batch, deep=deepest > 1):
        images = {LOW_DOSE: series.low[start:stop].astype(np.float32)}
        neighbours = series.low[first:last]
        for model in models:
            part = denoise_slices(
                model, neighbours, start - first, batch, outside=outside[model.name]
            )
            images[model.name] = part[: stop - start]
        full = series.full[start:stop].astype(np.float32)
        target = make_target(full, protocol, features, batch=batch)
        scores = {m: score_slices(i, target, protocol, features) for m, i in images.items()}
        rows = [
            SliceScore(
                method,
                series.name,
                series.patient,
                start + k,
                {metric: float(values[k]) for metric, values in own.items()},
            )
            for method, own in scores.items()
            for k in range(stop - start)
        ]
        yield rows, images | {"full dose": full}


def outside_of(window: Window, protocol: Protocol) -> str:
    """Return the `outside` of `denoise_slices` that a protocol needs for a network's window."""
    return "clip" if window.contains(protocol.window) else "restore"


def slice_parts(
    series: PairedSeries, chosen: range, batch: int, *, deep: bool
) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Yield (start, stop) of up to `batch` chosen slices, and the stretch of their neighbours.

    The ends of stretches matter only to a 3D network (`deep`); otherwise the series is one stretch.
    """
    stretches = series.runs if deep else ((0, len(series.full)),)
    for first, last in stretches:
        for start in range(max(first, chosen.start), min(last, chosen.stop), batch):
            yield start, min(start + batch, last, chosen.stop), (first, last)


@dataclasses.dataclass(frozen=True)
class Target:
    """Full-dose slices to score others against, with results that need not be computed twice.

    Attributes:
        full_hu: The slices (batch, y, x) in HU; a short batch is filled by repeating its last
            slice, so that each shape compiles once.
        features: The output of the feature network for these slices.
    """

    full_hu: Array
    features: Array


def make_target(
    full_hu: Float[np.ndarray, "n y x"],
    protocol: Protocol,
    features: FeatureNetwork,
    *,
    batch: int,
) -> Target:
    """Build the target that up to `batch` slices are scored against."""
    full = _filled(full_hu, batch)
    of_full = _features(features.params, full, protocol=protocol, spec=features.spec)
    return Target(full, of_full)


def score_slices(
    images_hu: Float[np.ndarray, "n y x"],
    target: Target,
    protocol: Protocol,
    features: FeatureNetwork,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return the scores of one method's slices by every metric, by the name of the metric."""
    scores = _score(
        features.params,
        _filled(images_hu, len(target.full_hu)),
        target.full_hu,
        target.features,
        protocol=protocol,
        spec=features.spec,
        metrics=tuple(METRICS.items()),
    )
    return {metric: np.asarray(values)[: len(images_hu)] for metric, values in scores.items()}


def _filled(slices: Float[np.ndarray, "n y x"], batch: int) -> Array:
    """Return `batch` slices, the last one repeated where there are fewer."""
    return jnp.asarray(slices[np.minimum(np.arange(batch), len(slices) - 1)])


def middle(series: PairedSeries, count: int) -> range:
    """Return the middle `count` slices of a series; all for 0 or if the series has fewer."""
    total = len(series.full)
    count = min(count, total) if count else total
    start = (total - count) // 2
    return range(start, start + count)


def mean_scores(rows: Sequence[SliceScore]) -> dict[str, dict[str, float]]:
    """Return the mean of every metric over slices, by method, in order of appearance."""
    methods = dict.fromkeys(row.method for row in rows)
    return {
        method: {
            metric: float(np.mean([r.scores[metric] for r in rows if r.method == method]))
            for metric in rows[0].scores
        }
        for method in methods
    }


@partial(jax.jit, static_argnames=("protocol", "spec"))
def _features(
    params: Params, images_hu: Array, *, protocol: Protocol, spec: perceptual.FeatureSpec
) -> Array:
    return perceptual.features(params, protocol.window.normalise(images_hu)[..., None], spec=spec)


@partial(jax.jit, static_argnames=("protocol", "spec", "metrics"))
def _score(
    params: Params,
    images_hu: Array,
    full_hu: Array,
    of_full: Array,
    *,
    protocol: Protocol,
    spec: perceptual.FeatureSpec,
    metrics: tuple[tuple[str, Metric], ...],
) -> dict[str, Array]:
    compared = Compared(
        prediction=protocol.window.normalise(images_hu),
        target=protocol.window.normalise(full_hu),
        protocol=protocol,
        features=_features(params, images_hu, protocol=protocol, spec=spec),
        target_features=of_full,
    )
    return {name: metric.function(compared) for name, metric in metrics}
