"""Going on with a run: only where its configuration, data and feature network are the same."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpca_jax.errors import CheckpointError, ConfigError
from cpca_jax.runs import checkpoints, config, saving
from cpca_jax.runs.config import Experiment
from cpca_jax.runs.state import TrainState
from cpca_jax.runtime import logs, processes
from cpca_jax.training.experiment import Parts
from cpca_jax.training.networks import state_shapes

# What may differ when a run is resumed: nothing that a result depends on. The data and the
# feature network are held to by their digests, wherever their files lie now.
RESUME_MAY_CHANGE = (
    "data.store",
    "perceptual.weights",
    "train.epochs",
    "train.steps",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.keep_every",
    "train.validation_slices",
    "evaluation.batch",
    "compute.devices",
    "compute.rematerialise",
    "compute.resident",
)

# In place of a step: there is no checkpoint. 0 is one, of a converted run.
_NONE = -1


def about(parts: Parts) -> dict[str, str]:
    """What a run hangs on beside its configuration, as its checkpoints name it."""
    return {"feature_network": parts.features.label, "data": parts.store.fingerprint}


def resume(parts: Parts, workdir: Path) -> TrainState | None:
    """The state of the newest sound checkpoint in the folder, or None if there is none.

    Raises:
        ConfigError: the folder's run had another configuration, data or feature network.
    """
    # A mounted bucket may show other machines the newest checkpoint later.
    found = checkpoints.sound_step(workdir, say=logs.say)
    step = processes.of_first(_NONE if found is None else found)
    if step == _NONE:
        if checkpoints.steps(workdir):
            raise CheckpointError(f"{workdir.name}: none of its checkpoints is sound; move it away")
        return None
    theirs = config.parse(checkpoints.read_config(workdir, step=step))
    changed = [
        line
        for line in differences(parts.experiment, theirs)
        if line.split(":")[0] not in RESUME_MAY_CHANGE
    ]
    recorded = checkpoints.read_about(workdir, step)
    changed += [
        f"{what}: {value} here, {recorded[what]} there"
        for what, value in about(parts).items()
        if recorded[what] != value
    ]
    if changed:
        raise ConfigError(
            f"{workdir.name} holds a run that differs: {'; '.join(changed)}. Use another --workdir"
        )
    logs.say(f"resuming {workdir.name} at step {step}")
    template = state_shapes(parts.networks, parts.objective.optimisers)
    return saving.restore_state(workdir, template, step=step)


def differences(ours: Experiment, theirs: Experiment) -> list[str]:
    """One line per field that differs: `train.seed: 1 here, 2 there`."""
    a, b = (_flatten(dataclasses.asdict(e)) for e in (ours, theirs))
    return [
        f"{key}: {a.get(key)!r} here, {b.get(key)!r} there"
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    ]


def _flatten(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{path}{key}"
        flat |= _flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat
