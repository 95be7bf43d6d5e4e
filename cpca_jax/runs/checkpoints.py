"""Checkpoints of a run. The only module that knows Orbax.

A checkpoint is a folder RUN/checkpoints/STEP that holds the items `generator`, `critic`,
`optimizer` and, for batch normalisation, `generator_statistics` (Orbax), `config.json`, and
`manifest.json` with the SHA-256 of every other file. It is written under another name and renamed
when complete. Orbax itself restores flipped bits without
complaint, so the digests are checked at every restore; a step that fails is skipped, with a word,
and the one before it is taken.
"""

import json
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
from cpca_jax.runs import older
from cpca_jax.runs.state import Player, TrainState
from cpca_jax.runtime import files
from cpca_jax.types import Params

Say = Callable[[str], None]
FOLDER, CONFIG, MANIFEST = "checkpoints", "config.json", "manifest.json"
_OPTIMIZER, _STATISTICS = "optimizer", "_statistics"


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
        OutputError: the disk is full or may not be written; older checkpoints are intact.
    """
    state = jax.device_get(state)
    step = int(state.step)
    folder = run / FOLDER
    for left in folder.glob(".*.partial"):  # by a process that was killed while it saved
        shutil.rmtree(left, ignore_errors=True)
    final = folder / str(step)
    with (
        files.disk_errors(f"checkpoint {step}"),
        files.appearing(final, shared=True, replacing=True) as partial,
    ):
        _write(partial, state, config, about)
    for old in steps(run)[:-keep]:
        if not keep_every or old % keep_every:
            shutil.rmtree(folder / str(old), ignore_errors=True)
    return final


def _write(folder: Path, state: TrainState, config: str, about: Mapping[str, Any]) -> None:
    """Fill a checkpoint's folder, the manifest last."""
    # The one process that saves does not wait for the others, which do not.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(), active_processes={jax.process_index()}
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    checkpointer = ocp.Checkpointer(handler, multiprocessing_options=alone)
    for name, tree in _items(state).items():
        checkpointer.save((folder / name).absolute(), tree)
    (folder / CONFIG).write_text(config)
    manifest = {
        "step": int(state.step),
        "about": dict(about),
        "versions": {"cpca_jax": __version__, "jax": jax.__version__, "numpy": np.__version__},
        "files": _digests(folder),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))


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

    def player(name: str, like: Player) -> Player:
        saved = restore_player(run, name, step=step)
        return Player(
            _fill(like.params, saved.params, name),
            _fill(like.opt_state, saved.opt_state, f"optimizer/{name}"),
            _fill(like.statistics, saved.statistics, f"{name}{_STATISTICS}"),
        )

    critic = None if like.critic is None else player("critic", like.critic)
    return TrainState(np.asarray(step, np.int32), player("generator", like.generator), critic)


def restore_player(run: Path, which: str, *, step: int) -> Player:
    """Restore one network of a run with its moments: nested dictionaries of NumPy arrays.

    Args:
        run: the run's folder.
        which: "generator" or "critic".
        step: which checkpoint; must be sound (`sound_step`).
    """
    params, statistics = older.moments_apart(_restore(run, step, which))
    if holds(run, which + _STATISTICS, step=step):
        statistics = _restore(run, step, which + _STATISTICS)
    opt_state = older.named_rules(_restore(run, step, _OPTIMIZER)[which])
    return Player(params, opt_state, statistics)


def holds(run: Path, item: str, *, step: int) -> bool:
    """Tell whether a checkpoint has an item, such as "critic"."""
    return (run / FOLDER / str(step) / item).is_dir()


def restore_statistics(run: Path, *, step: int) -> Params:
    """Restore the generator's running moments; empty for a network without any."""
    if holds(run, "generator" + _STATISTICS, step=step):
        return _restore(run, step, "generator" + _STATISTICS)
    return older.moments_apart(_restore(run, step, "generator"))[1]


def restore_params(run: Path | str, *, which: str = "generator", step: int | None = None) -> Params:
    """Restore the parameters of one network as nested NumPy arrays, on any device count.

    Args:
        run: a run's folder.
        which: "generator" or "critic".
        step: which checkpoint; by default the newest sound one.

    Raises:
        CheckpointError: no sound checkpoint, or no such network in it.
    """
    run = Path(run)
    found = require_step(run, step=step)
    if not holds(run, which, step=found):
        raise CheckpointError(f"{run.name}, step {found}: it holds no {which}")
    return older.moments_apart(_restore(run, found, which))[0]


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
    items: dict[str, Any] = {name: player.params for name, player in present.items()}
    items |= {name + _STATISTICS: p.statistics for name, p in present.items() if p.statistics}
    return items | {_OPTIMIZER: {"step": np.asarray(state.step), **moments}}


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
    own = flax.serialization.to_state_dict(like)
    filled = trees.like(own, trees.by_name(restored)) if leaves(like) else own
    return flax.serialization.from_state_dict(like, filled)


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
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    return {p.relative_to(folder).as_posix(): files.file_digest(p) for p in found}
