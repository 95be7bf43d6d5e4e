"""Hard examples: the training slices on which a trained denoiser errs most."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cpca_jax.data.store.reader import PairedSeries
from cpca_jax.evaluation.scoring import TrainedModel, denoise_volume, load_run
from cpca_jax.runtime.logs import track
from cpca_jax.training.experiment import Parts

Say = Callable[[str], None]


def slice_errors(model: TrainedModel, series: PairedSeries, *, batch: int) -> np.ndarray:
    """Frobenius norm of denoised minus full dose, each slice's, in the model's network range."""
    denoised = denoise_volume(model, series.low, batch=batch, outside="clip")
    window = model.window
    full = np.clip(series.full.astype(np.float32), window.low, window.high)
    error: np.ndarray = np.linalg.norm((denoised - full) / window.width, axis=(1, 2))
    return error


def hardest_places(
    model: TrainedModel, series: Sequence[PairedSeries], share: float, *, batch: int
) -> list[tuple[int, int]]:
    """(series, z) of the share of all slices with the largest error, at least one.

    Wu et al. 2017 (CNN-Cascade), released code: 5 %.
    """
    places, errors = [], []
    for number, one in enumerate(track(series, "finding the hardest slices", len(series))):
        errors.append(slice_errors(model, one, batch=batch))
        places += [(number, z) for z in range(len(one.full))]
    kept = max(1, round(share * len(places)))
    order = np.argsort(-np.concatenate(errors), kind="stable")[:kept]
    return [places[k] for k in sorted(order.tolist())]


def on_hardest(parts: Parts, *, say: Say) -> Parts:
    """The parts with a sampler of the hardest slices, where the experiment asks for them.

    Which slices they are depends on the run that is started from and on the store only, so that
    a training that is resumed sees the same.
    """
    e = parts.experiment
    if e.data.hardest == 1:
        return parts
    model = load_run(Path(e.transfer.run), step=e.transfer.step or None)
    series = parts.sampler.series
    places = hardest_places(model, series, e.data.hardest, batch=e.evaluation.batch)
    say(
        f"training on the hardest {len(places)} of {sum(len(s.full) for s in series)} slices, "
        f"as {model.name} finds them"
    )
    return dataclasses.replace(parts, sampler=parts.sampler.restricted(places))
