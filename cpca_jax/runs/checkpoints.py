"""Reading the checkpoints of a run; `saving` writes them. Only these two modules know Orbax.

A checkpoint is a folder RUN/checkpoints/STEP that holds the items `generator`, `critic`,
`optimizer` and, for batch normalisation, `generator_statistics` (Orbax), `config.json`, and
`manifest.json`, see `manifest`. It is written under another name and renamed when complete. Orbax
itself restores flipped bits without complaint, so the digests are checked whenever a step is
chosen; a step that fails is reported and skipped, and the step before it is taken. Nothing that
is not finite counts as sound.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from cpca_jax import trees
from cpca_jax.errors import CheckpointError
from cpca_jax.runs import manifest
from cpca_jax.runs.manifest import Manifest
from cpca_jax.runtime import files, logs
from cpca_jax.runtime.files import read_small
from cpca_jax.types import Params, Say

FOLDER, CONFIG = "checkpoints", "config.json"
OPTIMIZER, STATISTICS = "optimizer", "_statistics"
# The bytes that an item may state whatever its files hold.
_SLACK_BYTES = 2**26
# The name of a step's folder; Python's `isdigit` and `int` would also take other digits.
_STEP = re.compile(r"0|[1-9][0-9]*", re.ASCII)

# What was found out about a checkpoint in this process: its files as they were (path, size, time
# of change) and the reason not to trust it. Files that have not changed are not hashed again.
_known: dict[Path, tuple[tuple[Any, ...], str | None]] = {}


def steps(run: Path) -> list[int]:
    """Return the steps that have a checkpoint folder, oldest first, without checking the files.

    Raises:
        CheckpointError: the folder of the checkpoints may not be read.
    """
    folder = run / FOLDER
    try:
        found = list(folder.iterdir()) if folder.is_dir() else []
        return sorted(int(p.name) for p in found if _STEP.fullmatch(p.name) and p.is_dir())
    except OSError as error:
        raise CheckpointError(f"{run.name}/{FOLDER}: cannot be read: {_cause(error)}") from error


def sound_step(run: Path, *, step: int | None = None, say: Say = logs.say) -> int | None:
    """Return the step of the newest sound checkpoint, or None.

    A checkpoint is sound if its manifest is whole and is that of its step, if every file has the
    digest that the manifest states, and if every number is finite.

    Args:
        run: the run's folder.
        step: the only step to look at; by default all steps.
        say: a function that is told of each skipped checkpoint, and why it is skipped.
    """
    candidates = [step] if step else reversed(steps(run))
    for candidate in candidates:
        found = problem(run, candidate)
        if found is None:
            return candidate
        say(f"warning: {run.name}: checkpoint {candidate} skipped: {found}")
    return None


def require_step(run: Path, *, step: int | None = None, say: Say = logs.say) -> int:
    """Return the step of the newest sound checkpoint as `sound_step` does, or raise an error.

    Raises:
        CheckpointError: the run has no sound checkpoint (at that step).
    """
    if not run.is_dir():
        raise CheckpointError(f"{run.name}: no such run folder")
    found = sound_step(run, step=step, say=say)
    if found is None:
        raise CheckpointError(f"{run.name}: no sound checkpoint{_instead(run, step)}")
    return found


def _instead(run: Path, step: int | None) -> str:
    """Say which checkpoints a run has instead of a sound one."""
    there = steps(run)
    if step and step not in there:
        return f" at step {step}; there are {there}"
    newest = step or max(there, default=None)
    if newest is None:
        return "; train it first"
    return f"; checkpoint {newest} is not used: {problem(run, newest)}"


def holds(run: Path, item: str, *, step: int) -> bool:
    """Tell whether a checkpoint has an item, such as "critic"."""
    return (run / FOLDER / str(step) / item).is_dir()


def restore_params(run: Path | str, *, which: str = "generator", step: int | None = None) -> Params:
    """Restore the parameters of one network as nested NumPy arrays, on any device count.

    Args:
        run: a run's folder.
        which: "generator" or "critic".
        step: the step of the checkpoint; by default the newest sound one.

    Raises:
        CheckpointError: no sound checkpoint, or no such network in it.
    """
    run = Path(run)
    found = require_step(run, step=step)
    if not holds(run, which, step=found):
        raise CheckpointError(f"{run.name}, step {found}: it holds no {which}")
    return restore_network(run, which, step=found)[0]


def restore_network(run: Path, which: str, *, step: int) -> tuple[Params, Params]:
    """Restore the parameters and the running moments of one network.

    Args:
        run: the run's folder.
        which: "generator" or "critic".
        step: the step of the checkpoint, which must be sound (`sound_step`).
    """
    params = restore_item(run, step, which)
    if is_of_version_0_1(run, step):
        from cpca_jax.runs import older

        return older.moments_apart(params)
    moments = which + STATISTICS
    return params, restore_item(run, step, moments) if holds(run, moments, step=step) else {}


def is_of_version_0_1(run: Path, step: int) -> bool:
    """Tell whether a checkpoint has the form of version 0.1, see `older`."""
    return read_manifest(run, step).versions["cpca_jax"].startswith("0.1.")


def read_config(run: Path | str, *, step: int | None = None) -> dict[str, Any]:
    """Return the configuration with which a run was trained, as `config.parse` takes it.

    A checkpoint that is skipped on the way is not reported: all of a run say nearly the same.

    Raises:
        CheckpointError: no sound checkpoint.
    """
    run = Path(run)
    return config_of(run, require_step(run, step=step, say=lambda _: None))


def config_of(run: Path, step: int) -> dict[str, Any]:
    """Return the configuration of a checkpoint that is known to be sound (`sound_step`).

    Raises:
        CheckpointError: it is no JSON object, though the file is as it was written.
    """
    path = run / FOLDER / str(step) / CONFIG
    try:
        loaded = json.loads(read_small(path, error=CheckpointError))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{run.name}, step {step}: {CONFIG} cannot be read ({_cause(error)})"
        ) from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{run.name}, step {step}: {CONFIG} must be a JSON object")
    return loaded


def read_manifest(run: Path, step: int) -> Manifest:
    """Return what the manifest of a step states.

    Raises:
        CheckpointError: the manifest cannot be trusted; the message is a predicate.
    """
    return manifest.read(run / FOLDER / str(step))


def restore_item(run: Path, step: int, name: str) -> Any:
    """Restore one item of a sound checkpoint as nested dictionaries of NumPy arrays.

    Raises:
        CheckpointError: the item cannot be read, though its files are as they were written.
    """
    path = (run / FOLDER / str(step) / name).absolute()
    try:
        shapes = _shapes(path)
        _require_sensible(run, step, name, shapes)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
        return ocp.PyTreeCheckpointer().restore(path, restore_args=as_numpy)
    except CheckpointError:
        raise
    except Exception as error:  # Orbax and TensorStore raise nearly anything.
        raise CheckpointError(
            f"{run.name}, step {step}: {name} cannot be restored ({_cause(error)})"
        ) from error


def _shapes(path: Path) -> Any:
    """Return what Orbax states of the leaves of an item, before it reads any."""
    return ocp.PyTreeCheckpointer().metadata(path.absolute()).item_metadata.tree


def _require_sensible(run: Path, step: int, name: str, shapes: Any) -> None:
    """Refuse an item that states more numbers than its files can hold; they may come from outside.

    Weights cannot be compressed much. Moments can, as long as they are zero; they are as large as
    the weights.
    """
    folder = run / FOLDER / str(step)
    if name == OPTIMIZER:
        players = [path for path in folder.iterdir() if (path / "_METADATA").is_file()]
        most = _SLACK_BYTES + 4 * sum(_bytes(_shapes(p)) for p in players if p.name != OPTIMIZER)
    else:
        most = _SLACK_BYTES + 64 * sum(path.stat().st_size for path in _files(folder / name))
    if _bytes(shapes) > most:
        raise CheckpointError(
            f"{run.name}, step {step}: {name} states {_bytes(shapes)} bytes, at most {most} make "
            "sense"
        )


def _bytes(shapes: Any) -> int:
    leaves = jax.tree.leaves(shapes, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in leaves)


def not_finite(items: Params) -> list[str]:
    """Return the names of the leaves that hold a number that is not finite."""
    return [name for name, leaf in trees.by_name(items).items() if not np.isfinite(leaf).all()]


def problem(run: Path, step: int) -> str | None:
    """Return the reason why the checkpoint of a step cannot be trusted, or None."""
    folder = run / FOLDER / str(step)
    try:
        state = tuple(
            (path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns, stat.st_ino)
            for path in _files(folder)
            for stat in (path.stat(),)
        )
        known = _known.get(folder.resolve())
        if known is None or known[0] != state:
            known = state, _problem(run, step)
            _known[folder.resolve()] = known
    except OSError as error:
        return f"its files cannot be read ({_cause(error)})"
    return known[1]


def _problem(run: Path, step: int) -> str | None:
    folder = run / FOLDER / str(step)
    try:
        stated = manifest.read(folder)
    except CheckpointError as error:
        return str(error)
    found = digests(folder)
    names = stated.files.keys() | found.keys()
    wrong = sorted(name for name in names if stated.files.get(name) != found.get(name))
    if wrong:
        return f"{wrong[0]} is missing, new or changed"
    # Versions before the digest of manifests saved whatever there was.
    return None if stated.protected else _problem_of_numbers(run, step)


def _problem_of_numbers(run: Path, step: int) -> str | None:
    items = sorted(p.name for p in (run / FOLDER / str(step)).iterdir() if p.is_dir())
    try:
        bad = not_finite({item: restore_item(run, step, item) for item in items})
    except CheckpointError as error:
        return str(error)
    return f"{bad[0]} holds a number that is not finite" if bad else None


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a checkpoint except its manifest, by relative path."""
    own = folder / manifest.NAME
    found = (path for path in _files(folder) if path != own)
    return {path.relative_to(folder).as_posix(): files.file_digest(path) for path in found}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _cause(error: Exception) -> str:
    # Imported here, because it is rarely needed and denoising loads as little as it can.
    from cpca_jax.runtime import circumstances

    return circumstances.cause(error)
