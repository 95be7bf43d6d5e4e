"""Stagewise training: a cascade's networks one after the other, each a training like any other.

Stage k starts from the run of stage k - 1, whose weights stay as they are, adds a network and
trains it on the slices that are still hardest (Wu et al. 2017). Every stage is a run of its own,
so that each can be resumed, evaluated and looked at.
"""

import dataclasses
from pathlib import Path

from cpca_jax.errors import ConfigError, StoppedError
from cpca_jax.runs.config import Experiment
from cpca_jax.runs.state import TrainState
from cpca_jax.runtime import logs
from cpca_jax.training import loop


def stage_folder(workdir: Path, number: int, stages: int) -> Path:
    """Where stage `number` (from 1) leaves its run: the last one in the folder itself."""
    return workdir if number == stages else workdir / f"stage{number}"


def stage_experiment(experiment: Experiment, number: int, workdir: Path) -> Experiment:
    """The ordinary experiment that stage `number` (from 1) of a cascade is."""
    fields = {**experiment.model.fields, "stages": number}
    stage = dataclasses.replace(
        experiment,
        model=dataclasses.replace(experiment.model, fields=fields),
        train=dataclasses.replace(experiment.train, stages=1),
    )
    if number == 1:
        return dataclasses.replace(stage, data=dataclasses.replace(stage.data, hardest=1.0))
    earlier = stage_folder(workdir, number - 1, experiment.train.stages)
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


def train(experiment: Experiment, workdir: Path) -> TrainState:
    """Train an experiment; one that has several stages, stage by stage.

    Run again it goes on where it stopped: finished stages are passed over.

    Raises:
        InputError: as for `loop.train`, and for a model that has no stages.
    """
    stages = experiment.train.stages
    if stages == 1:
        return loop.train(experiment, workdir)
    if experiment.model.name != "cascade":
        raise ConfigError(
            f"config.train.stages: {stages}; {experiment.model.name} has no stages, only cascade"
        )
    for number in range(1, stages + 1):
        folder = stage_folder(workdir, number, stages)
        logs.say(f"stage {number} of {stages}: {folder.name}")
        state = loop.train(stage_experiment(experiment, number, workdir), folder)
        if int(state.step) < experiment.train.total_steps:
            break
    return state


def train_to_end(experiment: Experiment, workdir: Path) -> None:
    """Train as `train` does, for those who need a finished training.

    Raises:
        InputError: as for `train`.
        StoppedError: it was asked to stop before the last step.
    """
    step = int(train(experiment, workdir).step)
    if step < experiment.train.total_steps:
        raise StoppedError(f"{workdir.name}: stopped at step {step}; run it again to go on")
