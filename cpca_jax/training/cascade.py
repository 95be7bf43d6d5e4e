"""The training of CNN-Cascade: its networks one after the other, each in an ordinary training.

Stage k starts from the run of stage k - 1, whose weights stay fixed, adds a network and trains it
on the slices that are still hardest (Wu et al. 2017). Every stage is a run of its own, so each can
be resumed, evaluated and inspected. All settings are the network's own fields
(`models.cascade.Cascade`).
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cpca_jax.data.store.reader import PairedSeries
from cpca_jax.denoising.denoiser import Denoiser, denoise_volume, load_run
from cpca_jax.errors import DivergedError
from cpca_jax.models.cascade import Cascade
from cpca_jax.runs import checkpoints
from cpca_jax.runs.config import Experiment
from cpca_jax.runs.state import TrainState
from cpca_jax.runtime import logs
from cpca_jax.training import loop
from cpca_jax.training.experiment import Parts, assemble, build_networks
from cpca_jax.training.networks import generator_names


def train(experiment: Experiment, workdir: Path) -> TrainState:
    """Train a cascade stage by stage; a second call continues where the first stopped.

    Raises:
        InputError: As in `loop.train`.
        StoppedError: As in `loop.train`; no later stage was begun.
    """
    network = build_networks(experiment).generator
    assert isinstance(network, Cascade)
    for number in range(1, network.stages + 1):
        folder = stage_folder(workdir, number, network.stages)
        if network.stages > 1:
            logs.say(f"stage {number} of {network.stages}: {folder.name}")
        stage = stage_experiment(experiment, number, workdir, network)
        parts = assemble(stage)
        if number > 1 and network.hardest < 1 and not _finished(stage, folder):
            parts = on_hardest(parts, network.hardest)
        try:
            state = loop.train_parts(parts, folder)
        except DivergedError as error:
            raise DivergedError(
                f"{folder.name}, {error.fact}",
                "Train the cascade again in another --workdir with lower rates",
            ) from error
    return state


def stage_folder(workdir: Path, number: int, stages: int) -> Path:
    """Return the folder of the run of stage `number` (from 1): `workdir` itself for the last."""
    return workdir if number == stages else workdir / f"stage{number}"


def stage_experiment(
    experiment: Experiment, number: int, workdir: Path, network: Cascade
) -> Experiment:
    """Return stage `number` (from 1) of a cascade as an ordinary experiment."""
    fields = {**experiment.model.fields, "stages": number}
    stage = _with_known_patterns(
        dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, fields=fields))
    )
    if number == 1:
        return stage
    earlier = stage_folder(workdir, number - 1, network.stages)
    frozen = tuple(f"stage{k}/.*" for k in range(1, number))
    return dataclasses.replace(
        stage,
        train=dataclasses.replace(stage.train, frozen=(*stage.train.frozen, *frozen)),
        transfer=dataclasses.replace(
            stage.transfer,
            run=str(earlier),
            step=0,
            fresh=(*stage.transfer.fresh, f"stage{number}/.*"),
            optimizer="fresh",
        ),
    )


def _with_known_patterns(stage: Experiment) -> Experiment:
    """Return the stage with those of the user's patterns that match a parameter of its network.

    `train` has found that each of them matches a parameter of the whole cascade.
    """
    train, transfer = stage.train, stage.transfer
    if not (train.frozen or transfer.fresh):
        return stage
    bare = dataclasses.replace(
        stage,
        train=dataclasses.replace(train, frozen=()),
        transfer=dataclasses.replace(transfer, fresh=()),
    )
    weights, moments = generator_names(build_networks(bare))

    def known(patterns: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(p for p in patterns if any(re.fullmatch(p, name) for name in names))

    return dataclasses.replace(
        stage,
        train=dataclasses.replace(train, frozen=known(train.frozen, weights)),
        transfer=dataclasses.replace(transfer, fresh=known(transfer.fresh, (*weights, *moments))),
    )


def _finished(stage: Experiment, folder: Path) -> bool:
    return checkpoints.sound_step(folder) == stage.train.total_steps


def on_hardest(parts: Parts, share: float) -> Parts:
    """Return the parts with a sampler of the hardest slices.

    The choice depends only on the store and on the run that the training starts from, so a resumed
    training sees the same slices.
    """
    e = parts.experiment
    denoiser = load_run(Path(e.transfer.run), step=e.transfer.step or None)
    series = parts.sampler.series
    places = hardest_places(denoiser, series, share, batch=e.evaluation.batch)
    logs.say(
        f"training on the hardest {len(places)} of {sum(len(s.full) for s in series)} slices, "
        f"by the errors of {denoiser.name}"
    )
    return dataclasses.replace(parts, sampler=parts.sampler.restricted(places))


def hardest_places(
    denoiser: Denoiser, series: Sequence[PairedSeries], share: float, *, batch: int
) -> list[tuple[int, int]]:
    """Return (series, z) of the share of all slices with the largest errors, at least one slice.

    The released code of Wu et al. 2017 (CNN-Cascade) takes 5 %.
    """
    places, errors = [], []
    for number, one in enumerate(logs.track(series, "finding the hardest slices", len(series))):
        errors.append(slice_errors(denoiser, one, batch=batch))
        places += [(number, z) for z in range(len(one.full))]
    kept = max(1, round(share * len(places)))
    order = np.argsort(-np.concatenate(errors), kind="stable")[:kept]
    return [places[k] for k in sorted(order.tolist())]


def slice_errors(denoiser: Denoiser, series: PairedSeries, *, batch: int) -> np.ndarray:
    """Return each slice's Frobenius norm of denoised minus full dose, in network range."""
    denoised = denoise_volume(denoiser, series.low, batch=batch, outside="clip")
    window = denoiser.window
    full = np.clip(series.full.astype(np.float32), window.low, window.high)
    error: np.ndarray = np.linalg.norm((denoised - full) / window.width, axis=(1, 2))
    return error
