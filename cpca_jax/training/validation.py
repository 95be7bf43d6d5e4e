"""The repeated scoring of a generator in training on the same slices."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from cpca_jax.data.store.reader import PairedSeries
from cpca_jax.denoising.denoiser import Denoiser, denoise_slices
from cpca_jax.evaluation.scoring import (
    Target,
    make_target,
    middle,
    outside_of,
    score_slices,
    slice_parts,
)
from cpca_jax.runs.state import Player
from cpca_jax.training.experiment import Parts

Scored = Mapping[str, Float[np.ndarray, "..."]]

# The bytes of full-dose features that may be kept from one validation to the next. The features
# of a 512x512 slice take 2 MiB at VGG19's relu5_4 (the deck's), 16 MiB at VGG16's relu3_3.
_MOST_KEPT = 2**30


@dataclasses.dataclass
class _Slices:
    """Some validation slices, with results that are kept from the first validation on."""

    series: PairedSeries
    start: int
    stop: int
    stretch: tuple[int, int]
    target: Target | None = None
    low: Scored | None = None


class Validation:
    """The validation slices of a training.

    Low dose is scored once and the features of full dose are computed once: from the second
    validation on, two of the three passes through the feature network are left out.
    """

    def __init__(self, parts: Parts) -> None:
        """Choose the middle slices of each validation series; nothing is computed yet.

        Args:
            parts: The parts of the training.
        """
        self._parts = parts
        self._slices = list(_choose(parts))
        # A batch larger than any series can fill would waste computation.
        most = max((part.stop - part.start for part in self._slices), default=1)
        self._batch = min(parts.experiment.evaluation.batch, most)
        self._kept = 0

    def scores(self, generator: Player) -> dict[str, float]:
        """Return the mean of every metric over the slices.

        Args:
            generator: The player of the generator, its weights and moments on the host.

        Returns:
            The means by the metric's name, those of low dose by "low_" and the name; empty where
            there are no validation slices.
        """
        parts = self._parts
        denoiser = Denoiser(
            "the network",
            parts.networks.generator,
            generator.params,
            parts.window,
            statistics=generator.statistics,
        )
        outside = outside_of(parts.window, parts.protocol)
        own, low = [], []
        for chosen in self._slices:
            target, of_low = self._known(chosen)
            first, last = chosen.stretch
            neighbours = chosen.series.low[first:last]
            denoised = denoise_slices(
                denoiser, neighbours, chosen.start - first, self._batch, outside=outside
            )[: chosen.stop - chosen.start]
            own.append(score_slices(denoised, target, parts.protocol, parts.features))
            low.append(of_low)
        return _means(own) | {f"low_{name}": v for name, v in _means(low).items()}

    def _known(self, chosen: _Slices) -> tuple[Target, Scored]:
        """Return the target that these slices are scored against, and the scores of low dose."""
        parts = self._parts
        target = chosen.target
        if target is None:
            full = chosen.series.full[chosen.start : chosen.stop].astype(np.float32)
            target = make_target(full, parts.protocol, parts.features, batch=self._batch)
            if self._kept + target.features.nbytes <= _MOST_KEPT:
                self._kept += target.features.nbytes
                chosen.target = target
        if chosen.low is None:
            low = chosen.series.low[chosen.start : chosen.stop].astype(np.float32)
            chosen.low = score_slices(low, target, parts.protocol, parts.features)
        return target, chosen.low


def _choose(parts: Parts) -> Iterator[_Slices]:
    """Yield the middle slices of all validation series, a few at a time."""
    each = -(-parts.experiment.train.validation_slices // max(len(parts.validation), 1))
    batch, deep = parts.experiment.evaluation.batch, parts.networks.geometry.slices > 1
    for series in parts.validation:
        for start, stop, stretch in slice_parts(series, middle(series, each), batch, deep=deep):
            yield _Slices(series, start, stop, stretch)


def _means(scored: Sequence[Scored]) -> dict[str, float]:
    return {
        metric: float(np.mean(np.concatenate([scores[metric] for scores in scored])))
        for metric in (scored[0] if scored else ())
    }
