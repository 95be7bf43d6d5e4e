"""The beginning of a training: its first state, and the checkpoint that a transfer took it from.

A run is held to that checkpoint by its digest, wherever the folder lies and however its path is
written.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cpca_jax.errors import CheckpointError
from cpca_jax.runs import checkpoints
from cpca_jax.runs.config import TransferConfig
from cpca_jax.runs.state import TrainState

_STEP, _DIGEST = "transfer_step", "transfer_checkpoint"


class Beginning(NamedTuple):
    """The state that a training continues from.

    Attributes:
        state: The state.
        origin: The checkpoint of the transfer, as the checkpoints of the run name it (`about`);
            empty for a training from scratch.
    """

    state: TrainState
    origin: Mapping[str, str]


def named(run: Path, step: int) -> dict[str, str]:
    """Return the origin of a training that starts from a sound checkpoint."""
    return {_STEP: str(step), _DIGEST: checkpoints.read_manifest(run, step).digest}


def recorded(about: Mapping[str, str]) -> dict[str, str]:
    """Return the origin that a checkpoint records."""
    return {key: about[key] for key in (_STEP, _DIGEST) if key in about}


def differences(
    ours: TransferConfig, theirs: TransferConfig, about: Mapping[str, str]
) -> list[str]:
    """Return what differs between the checkpoint asked for and the one that a run started from.

    Args:
        ours: The transfer that is asked for.
        theirs: The transfer that the run was started with.
        about: What the run's checkpoint records.
    """
    as_written = [f"transfer.run: {ours.run!r} here, {theirs.run!r} there"]
    if not (ours.run and theirs.run):
        return as_written if ours.run or theirs.run else []
    same_path = Path(ours.run).resolve() == Path(theirs.run).resolve()
    origin = recorded(about)
    if not origin:  # a run of version 0.2.0 or before
        steps = [f"transfer.step: {ours.step} here, {theirs.step} there"]
        return (steps if ours.step != theirs.step else []) if same_path else as_written
    step, digest = origin[_STEP], origin[_DIGEST]
    if ours.step and str(ours.step) != step:
        return [f"transfer.step: {ours.step} here, {step} there"]
    found = _digest(Path(ours.run), int(step))
    # A checkpoint that has been removed since is not needed again.
    if found == digest or (found is None and same_path):
        return []
    return [
        f"transfer.run: {ours.run!r} does not hold the checkpoint of step {step} "
        f"({digest[:12]}) that it started from"
    ]


def _digest(run: Path, step: int) -> str | None:
    """Return the digest of a checkpoint, None without one; its other files are not looked at."""
    try:
        return checkpoints.read_manifest(run, step).digest
    except CheckpointError:
        return None
