"""Reading the checkpoints of a run; `saving` writes them. Only these two modules know Orbax.

A checkpoint is a folder RUN/checkpoints/STEP that holds the items `generator`, `critic`,
`optimizer` and, for batch normalisation, `generator_statistics` (Orbax), `config.json`, and
`manifest.json` with the SHA-256 of every other file. It is written under another name and renamed
when complete. Orbax itself restores flipped bits without complaint, so the digests are checked
whenever a step is chosen; a step that fails is reported and skipped, and the step before it is
taken.
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from cpca_jax.errors import CheckpointError
from cpca_jax.runtime import files
from cpca_jax.types import Params, Say

FOLDER, CONFIG, MANIFEST = "checkpoints", "config.json", "manifest.json"
OPTIMIZER, STATISTICS = "optimizer", "_statistics"


def steps(run: Path) -> list[int]:
    """Return the steps that have a checkpoint folder, oldest first, without checking the files."""
    folder = run / FOLDER
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit() and p.is_dir())


def sound_step(run: Path, *, step: int | None = None, say: Say = lambda _: None) -> int | None:
    """Return the step of the newest sound checkpoint, or None.

    A checkpoint is sound if every file has the digest that its manifest states.

    Args:
        run: the run's folder.
        step: the only step to look at; by default all steps.
        say: a function that is told of each skipped checkpoint, and why it is skipped.
    """
    candidates = [step] if step else reversed(steps(run))
    for candidate in candidates:
        problem = _problem(run / FOLDER / str(candidate))
        if problem is None:
            return candidate
        say(f"checkpoint {candidate} skipped: {problem}")
    return None


def require_step(run: Path, *, step: int | None = None, say: Say = lambda _: None) -> int:
    """Return the step of the newest sound checkpoint as `sound_step` does, or raise an error.

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
    return str(read_about(run, step)["versions"]["cpca_jax"]).startswith("0.1.")


def read_config(run: Path | str, *, step: int | None = None) -> dict[str, Any]:
    """Return the configuration with which a run was trained, as `config.parse` takes it.

    Raises:
        CheckpointError: no sound checkpoint.
    """
    run = Path(run)
    return config_of(run, require_step(run, step=step))


def config_of(run: Path, step: int) -> dict[str, Any]:
    """Return the configuration of a checkpoint that is known to be sound (`sound_step`)."""
    loaded: dict[str, Any] = json.loads((run / FOLDER / str(step) / CONFIG).read_text())
    return loaded


def read_about(run: Path, step: int) -> dict[str, Any]:
    """Return the rest of the manifest: feature network, data fingerprint, versions."""
    manifest = json.loads((run / FOLDER / str(step) / MANIFEST).read_text())
    return {**manifest["about"], "versions": manifest["versions"]}


def restore_item(run: Path, step: int, name: str) -> Any:
    """Restore one item of a sound checkpoint as nested dictionaries of NumPy arrays."""
    path = (run / FOLDER / str(step) / name).absolute()
    checkpointer = ocp.PyTreeCheckpointer()
    as_numpy = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
        checkpointer.metadata(path).item_metadata.tree,
    )
    return checkpointer.restore(path, restore_args=as_numpy)


def _problem(folder: Path) -> str | None:
    """Return the reason why a checkpoint cannot be trusted, or None."""
    try:
        stated = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest is missing or unreadable"
    found = digests(folder)
    wrong = sorted(n for n in stated.keys() | found.keys() if stated.get(n) != found.get(n))
    return f"{wrong[0]} is missing, new or changed" if wrong else None


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a checkpoint except its manifest, by relative path."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    return {p.relative_to(folder).as_posix(): files.file_digest(p) for p in found}
