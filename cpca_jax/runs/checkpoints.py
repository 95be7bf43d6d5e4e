"""Checkpoints of a run. The only module that knows Orbax.

A checkpoint is a folder RUN/checkpoints/STEP that holds the items `generator`, `critic` and
`optimizer` (Orbax), `config.json`, and `manifest.json` with the SHA-256 of every other file. It is
written under another name and renamed when complete. Orbax itself restores flipped bits without
complaint, so the digests are checked at every restore; a step that fails is skipped, with a word,
and the one before it is taken.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp

from cpca_jax import __version__, trees
from cpca_jax.errors import CheckpointError
from cpca_jax.runs.state import Player, TrainState
from cpca_jax.runtime.files import file_digest
from cpca_jax.types import Params

Say = Callable[[str], None]
FOLDER, CONFIG, MANIFEST = "checkpoints", "config.json", "manifest.json"


def save(
    run: Path,
    state: TrainState,
    config: str,
    *,
    about: Mapping[str, Any],
    keep: int,
    keep_every: int = 0,
) -> Path:
    """Write a checkpoint and drop what need not be kept.

    Args:
        run: the run's folder.
        state: what to save; its step names the checkpoint.
        config: the experiment as JSON text.
        about: what else the manifest should say (feature network, data fingerprint).
        keep: how many of the newest checkpoints to leave.
        keep_every: leave those at multiples of so many steps too; 0 for none.

    Raises:
        OSError: the disk is full or may not be written; older checkpoints are intact.
    """
    state = jax.device_get(state)
    step = int(state.step)
    folder = run / FOLDER
    partial, final = folder / f".partial-{step}", folder / str(step)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # The one process that saves does not wait for the others, which do not.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(), active_processes={jax.process_index()}
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    checkpointer = ocp.Checkpointer(handler, multiprocessing_options=alone)
    for name, tree in _items(state).items():
        checkpointer.save((partial / name).absolute(), tree)
    (partial / CONFIG).write_text(config)
    manifest = {
        "step": step,
        "about": dict(about),
        "versions": {"cpca_jax": __version__, "jax": jax.__version__, "numpy": np.__version__},
        "files": _digests(partial),
    }
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    _sync(partial)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    for old in steps(run)[:-keep]:
        if not keep_every or old % keep_every:
            shutil.rmtree(folder / str(old), ignore_errors=True)
    return final


def steps(run: Path) -> list[int]:
    """Steps that have a checkpoint folder, oldest first; whether they are sound is not checked."""
    folder = run / FOLDER
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit() and p.is_dir())


def sound_step(run: Path, *, step: int | None = None, say: Say = lambda _: None) -> int | None:
    """The newest step whose every file has the digest its manifest states, or None.

    Args:
        run: the run's folder.
        step: look at this one only.
        say: told of each checkpoint that is skipped, and why.
    """
    candidates = [step] if step else reversed(steps(run))
    for candidate in candidates:
        problem = _problem(run / FOLDER / str(candidate))
        if problem is None:
            return candidate
        say(f"checkpoint {candidate} skipped: {problem}")
    return None


def require_step(run: Path, *, step: int | None = None, say: Say = lambda _: None) -> int:
    """As `sound_step`, but its absence is an error.

    Raises:
        CheckpointError: the run has no sound checkpoint (at that step).
    """
    if not run.is_dir():
        raise CheckpointError(f"{run.name}: no such run folder")
    found = sound_step(run, step=step, say=say)
    if found is None:
        which = f" at step {step}; there are {steps(run)}" if step else "; train it first"
        raise CheckpointError(f"{run.name}: no sound checkpoint{which}")
    return found


def restore_state(run: Path, like: TrainState, *, step: int) -> TrainState:
    """A full state, as NumPy arrays on the host.

    Args:
        run: the run's folder.
        like: a state of the same experiment: structure, shapes and dtypes to hold to.
        step: which; must be sound (`sound_step`).

    Raises:
        CheckpointError: structure, a shape or a dtype differs; every offending name is listed.
    """
    items = {name: _restore(run, step, name) for name in _items(like)}
    moments = items["optimizer"]

    def player(name: str, like: Player) -> Player:
        params = _fill(like.params, items[name], f"{name}")
        return Player(params, _fill(like.opt_state, moments[name], f"optimizer/{name}"))

    critic = None if like.critic is None else player("critic", like.critic)
    step_array: Any = np.asarray(moments["step"])
    return TrainState(step_array, player("generator", like.generator), critic)


def restore_params(run: Path | str, *, which: str = "generator", step: int | None = None) -> Params:
    """Parameters of one network as a nested dictionary of NumPy arrays, on any device count.

    Args:
        run: a run's folder.
        which: "generator" or "critic".
        step: which checkpoint; by default the newest sound one.

    Raises:
        CheckpointError: no sound checkpoint, or no such network in it.
    """
    run = Path(run)
    found = require_step(run, step=step)
    if not (run / FOLDER / str(found) / which).is_dir():
        raise CheckpointError(f"{run.name}, step {found}: it holds no {which}")
    return _restore(run, found, which)


def read_config(run: Path | str, *, step: int | None = None) -> dict[str, Any]:
    """The configuration a run was trained with, as `config.parse` takes it.

    Raises:
        CheckpointError: no sound checkpoint.
    """
    run = Path(run)
    found = require_step(run, step=step)
    loaded: dict[str, Any] = json.loads((run / FOLDER / str(found) / CONFIG).read_text())
    return loaded


def read_about(run: Path, step: int) -> dict[str, Any]:
    """What the manifest says besides digests: feature network, data fingerprint, versions."""
    manifest = json.loads((run / FOLDER / str(step) / MANIFEST).read_text())
    return {**manifest["about"], "versions": manifest["versions"]}


def _items(state: TrainState) -> dict[str, Any]:
    """The named items of a checkpoint; plain dictionaries, so that a restore needs no template."""
    players = {"generator": state.generator, "critic": state.critic}
    present = {name: player for name, player in players.items() if player is not None}
    moments = {n: flax.serialization.to_state_dict(p.opt_state) for n, p in present.items()}
    params: dict[str, Any] = {name: player.params for name, player in present.items()}
    return params | {"optimizer": {"step": np.asarray(state.step), **moments}}


def _restore(run: Path, step: int, name: str) -> Any:
    path = (run / FOLDER / str(step) / name).absolute()
    checkpointer = ocp.PyTreeCheckpointer()
    as_numpy = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
        checkpointer.metadata(path).item_metadata.tree,
    )
    return checkpointer.restore(path, restore_args=as_numpy)


def _fill(like: Params, restored: Any, what: str) -> Params:
    """`restored` in the structure of `like`; names, shapes and dtypes must be the same."""

    def leaves(tree: Params) -> dict[str, tuple[tuple[int, ...], str]]:
        leaves = trees.by_name(flax.serialization.to_state_dict(tree))
        return {name: _kind(leaf) for name, leaf in leaves.items()}

    want, have = leaves(like), leaves(restored)
    problems = [
        f"{what}/{name}: {have.get(name, 'absent')} saved, {want.get(name, 'absent')} wanted"
        for name in sorted(want.keys() | have.keys())
        if want.get(name) != have.get(name)
    ]
    if problems:
        raise CheckpointError("checkpoint does not fit the experiment: " + "; ".join(problems))
    return flax.serialization.from_state_dict(like, restored)


def _kind(leaf: Any) -> tuple[tuple[int, ...], str]:
    return tuple(leaf.shape), str(leaf.dtype)


def _problem(folder: Path) -> str | None:
    """Why a checkpoint cannot be trusted, or None."""
    try:
        stated = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest is missing or unreadable"
    found = _digests(folder)
    wrong = sorted(n for n in stated.keys() | found.keys() if stated.get(n) != found.get(n))
    return f"{wrong[0]} is missing, new or changed" if wrong else None


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    return {str(p.relative_to(folder)): file_digest(p) for p in files}


def _sync(folder: Path) -> None:
    """Make sure that what the rename will show is on disk."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
