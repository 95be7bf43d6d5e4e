"""The resuming of a run, allowed only with the same configuration, data and feature network."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpca_jax.errors import CheckpointError, ConfigError
from cpca_jax.runs import checkpoints, config, saving
from cpca_jax.runs.config import Experiment
from cpca_jax.runtime import logs, processes
from cpca_jax.training import origin
from cpca_jax.training.experiment import Parts
from cpca_jax.training.networks import state_shapes
from cpca_jax.training.origin import Beginning

# The settings that may differ when a run is resumed; no result depends on them. Data, feature
# network and the checkpoint of a transfer are compared by their digests, so their files may have
# moved.
RESUME_MAY_CHANGE = (
    "data.store",
    "perceptual.weights",
    "transfer.run",
    "transfer.step",
    "train.epochs",
    "train.steps",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.keep_every",
    "train.validation_slices",
    "evaluation.batch",
    "plugins",
    "compute.devices",
    "compute.rematerialise",
    "compute.resident",
)

# Stands for a step where there is no checkpoint. 0 is the step of a converted run.
_NONE = -1


def about(parts: Parts) -> dict[str, str]:
    """Return what a run depends on besides its configuration, as its checkpoints name it."""
    return {"feature_network": parts.features.label, "data": parts.store.fingerprint}


def resume(parts: Parts, workdir: Path) -> Beginning | None:
    """Return the newest sound checkpoint in the folder, or None without checkpoints.

    Raises:
        CheckpointError: The folder holds checkpoints, and none of them is sound.
        ConfigError: The folder's run has another configuration, other data or another feature
            network, or started from another checkpoint.
    """
    # The first process decides, because a mounted bucket may show the newest checkpoint later to
    # other machines.
    found = checkpoints.sound_step(workdir, say=logs.say)
    step = processes.of_first(_NONE if found is None else found)
    if step == _NONE:
        if checkpoints.steps(workdir):
            raise CheckpointError(f"{workdir.name}: none of its checkpoints is sound; move it away")
        return None
    theirs = config.parse_run(checkpoints.config_of(workdir, step))
    changed = [
        line
        for line in differences(parts.experiment, theirs)
        if line.split(":")[0] not in RESUME_MAY_CHANGE
    ]
    recorded = checkpoints.read_manifest(workdir, step).about
    changed += origin.differences(parts.experiment.transfer, theirs.transfer, recorded)
    changed += [
        f"{what}: {value} here, {recorded.get(what)} there"
        for what, value in about(parts).items()
        if recorded.get(what) != value
    ]
    if changed:
        raise ConfigError(
            f"{workdir.name} holds a run that differs: {'; '.join(changed)}. Use another --workdir"
        )
    logs.say(f"resuming {workdir.name} at step {step}")
    template = state_shapes(parts.networks, parts.objective.optimisers)
    state = saving.restore_state(workdir, template, step=step)
    return Beginning(state, origin.recorded(recorded))


def differences(ours: Experiment, theirs: Experiment) -> list[str]:
    """Return one line per field that differs, such as `train.seed: 1 here, 2 there`."""
    a, b = (_flatten(dataclasses.asdict(e)) for e in (ours, theirs))
    return [
        f"{key}: {a.get(key)!r} here, {b.get(key)!r} there"
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    ]


def _flatten(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return a nested mapping as one level, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{path}{key}"
        flat |= _flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat
