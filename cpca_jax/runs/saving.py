"""Saving and restoring the whole state of a training; `checkpoints` reads what denoising needs."""

import contextlib
import errno
import functools
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp

from cpca_jax import __version__, trees
from cpca_jax.errors import CheckpointError, OutputError
from cpca_jax.runs import manifest, older
from cpca_jax.runs.checkpoints import (
    CONFIG,
    FOLDER,
    OPTIMIZER,
    STATISTICS,
    digests,
    is_of_version_0_1,
    not_finite,
    problem,
    restore_item,
    restore_network,
    steps,
)
from cpca_jax.runs.manifest import Manifest
from cpca_jax.runs.state import Player, TrainState
from cpca_jax.runtime import circumstances, files, partials
from cpca_jax.types import Params

# Errors of the disk that Orbax and TensorStore quote in errors of other classes.
_QUOTED = {
    os.strerror(getattr(errno, name)): getattr(errno, name)
    for name in [
        "ENOSPC",
        "EDQUOT",
        "EFBIG",
        "EACCES",
        "EPERM",
        "EROFS",
        "EIO",
        "ESTALE",
        "EMFILE",
        "ENFILE",
    ]
    if hasattr(errno, name)
}

# What a checkpoint takes besides its numbers, generously: Orbax that meets a full disk floods the
# screen.
_OVERHEAD_BYTES = 2**20


def save(
    run: Path,
    state: TrainState,
    config: str,
    *,
    about: Mapping[str, str],
    keep: int,
    keep_every: int = 0,
) -> Path:
    """Write a checkpoint and remove older sound ones that need not be kept.

    Checkpoints that are not sound, and those of later steps, do not count and stay.

    Args:
        run: the run's folder.
        state: the state to save; its step names the checkpoint.
        config: the experiment as JSON text.
        about: further entries of the manifest (feature network, data fingerprint).
        keep: the number of newest checkpoints to keep.
        keep_every: also keep the checkpoints at multiples of this number of steps; 0 for none.

    Raises:
        CheckpointError: a number of the state is not finite; nothing is written or removed.
        OutputError: the disk is full or may not be written; older checkpoints are intact.
    """
    state = jax.device_get(state)
    step = int(state.step)
    if bad := broken(state):
        raise CheckpointError(f"step {step} is not saved: {bad[0]} is not finite")
    folder = run / FOLDER
    partials.remove_leftovers(folder)
    _require_space(folder, state, step)
    final = folder / str(step)
    with (
        circumstances.disk_errors(f"checkpoint {step}"),
        files.appearing(final, shared=True, replacing=True) as partial,
    ):
        _written(partial, state, config, about)
    older_ones = [old for old in steps(run) if old < step and problem(run, old) is None]
    for old in older_ones[: max(len(older_ones) - keep + 1, 0)]:
        if not keep_every or old % keep_every:
            _remove(folder / str(old))
    return final


def _remove(folder: Path) -> None:
    """Remove a checkpoint under another name: killed meanwhile, it is no damaged checkpoint."""
    with contextlib.suppress(OSError), partials.partial_folder(folder) as hidden:
        folder.rename(hidden / files.CONTENT)


def broken(state: TrainState) -> list[str]:
    """Return the names of the leaves of a state that hold a number that is not finite."""
    return not_finite(_items(state))


def _require_space(folder: Path, state: TrainState, step: int) -> None:
    """Require room for a checkpoint before anything is written.

    Raises:
        OutputError: the disk has less space left than the checkpoint takes.
    """
    numbers = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(_items(state)))
    needed = numbers + numbers // 10 + _OVERHEAD_BYTES
    try:
        folder.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(folder)
    except OSError:  # the writing itself will tell
        return
    # Some network shares state no sizes at all.
    if disk.total and disk.free < needed:
        raise OutputError(
            f"checkpoint {step}: cannot be written: {disk.free / 1e6:.1f} MB are free on its disk, "
            f"{needed / 1e6:.1f} MB are needed; free some space there, then run the same command "
            "again"
        )


@contextlib.contextmanager
def _threads_quiet() -> Iterator[None]:
    """Silence the reports of Orbax's threads, whose errors it raises again."""
    _overlook_late_answers()
    hook, log = threading.excepthook, logging.getLogger("absl")
    level = log.level
    threading.excepthook = lambda _: None
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        threading.excepthook = hook
        log.setLevel(level)


@functools.cache
def _overlook_late_answers() -> None:
    """Print no traceback of the answers that TensorStore gives when a save has failed already."""
    before = sys.unraisablehook

    def show(what: Any) -> None:
        if str(what.exc_value) != "Event loop is closed":
            before(what)

    sys.unraisablehook = show


@functools.cache
def _suit_network_shares() -> None:
    """Keep TensorStore from flushing folders and locking files, which some shares cannot do.

    `files.appearing` flushes everything afterwards, and nobody else writes into its folder. Orbax
    has no option for this; where it no longer has these tables, its own ways remain.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from orbax.checkpoint._src.serialization import tensorstore_utils as tables

        for options in (tables._BASE_TS_CONTEXT, tables._DEFAULT_OCDBT_TS_CONTEXT):
            options |= {"file_io_sync": False, "file_io_locking": {"mode": "lockfile"}}


def _written(folder: Path, state: TrainState, config: str, about: Mapping[str, str]) -> None:
    """Fill a checkpoint's folder; an error of the disk that Orbax wraps becomes an OSError."""
    try:
        with _threads_quiet():
            _write(folder, state, config, about)
    except OSError:
        raise
    except Exception as error:  # Orbax and TensorStore raise nearly anything.
        found = [code for text, code in _QUOTED.items() if text in str(error)]
        if not found:
            raise
        raise OSError(found[0], os.strerror(found[0])) from error


def _write(folder: Path, state: TrainState, config: str, about: Mapping[str, str]) -> None:
    """Fill a checkpoint's folder, with the manifest last."""
    _suit_network_shares()
    # The one process that saves must not wait for the others, which do not save.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(), active_processes={jax.process_index()}
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    checkpointer = ocp.Checkpointer(handler, multiprocessing_options=alone)
    for name, tree in _items(state).items():
        checkpointer.save((folder / name).absolute(), tree)
    (folder / CONFIG).write_text(config)
    stated = Manifest(
        step=int(state.step),
        about=dict(about),
        versions={"cpca_jax": __version__, "jax": jax.__version__, "numpy": np.__version__},
        files=digests(folder),
    )
    (folder / manifest.NAME).write_text(manifest.as_json(stated))


def restore_state(run: Path, like: TrainState, *, step: int) -> TrainState:
    """Restore a full state, as NumPy arrays on the host.

    Args:
        run: the run's folder.
        like: a state of the same experiment, whose structure, shapes and dtypes are required.
        step: the step of the checkpoint, which must be sound (`sound_step`).

    Raises:
        CheckpointError: the structure, a shape or a dtype differs; the message lists every name.
    """

    def player(name: str, like: Player) -> Player:
        saved = restore_player(run, name, step=step)
        return Player(
            _fill(like.params, saved.params, name),
            _fill(like.opt_state, saved.opt_state, f"optimizer/{name}"),
            _fill(like.statistics, saved.statistics, f"{name}{STATISTICS}"),
        )

    critic = None if like.critic is None else player("critic", like.critic)
    return TrainState(np.asarray(step, np.int32), player("generator", like.generator), critic)


def restore_player(run: Path, which: str, *, step: int) -> Player:
    """Restore one network of a run and its moments as nested dictionaries of NumPy arrays.

    Args:
        run: the run's folder.
        which: "generator" or "critic".
        step: the step of the checkpoint, which must be sound (`sound_step`).
    """
    params, statistics = restore_network(run, which, step=step)
    opt_state = restore_item(run, step, OPTIMIZER)[which]
    if is_of_version_0_1(run, step):
        opt_state = older.named_rules(opt_state)
    return Player(params, opt_state, statistics)


def _items(state: TrainState) -> dict[str, Any]:
    """Return the named items of a checkpoint as plain dictionaries: a restore needs no template."""
    players = {"generator": state.generator, "critic": state.critic}
    present = {name: player for name, player in players.items() if player is not None}
    moments = {n: flax.serialization.to_state_dict(p.opt_state) for n, p in present.items()}
    items: dict[str, Any] = {name: player.params for name, player in present.items()}
    items |= {name + STATISTICS: p.statistics for name, p in present.items() if p.statistics}
    return items | {OPTIMIZER: {"step": np.asarray(state.step), **moments}}


def _fill(like: Params, restored: Any, what: str) -> Params:
    """Return `restored` in the structure of `like`; names, shapes and dtypes must be the same."""

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
