"""The manifest of a checkpoint, the file by which a checkpoint is trusted or not.

A JSON object with the checkpoint's step, what the run depends on ("about"), the versions that
wrote it, the SHA-256 of every other file ("files"), and the SHA-256 of all that ("digest").
Checkpoints of version 0.2.0 and before have no digest.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpca_jax.errors import CheckpointError
from cpca_jax.runtime.files import read_small

NAME = "manifest.json"
_DIGEST = "digest"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a manifest states.

    Attributes:
        step: the training step, which is also the name of the checkpoint's folder.
        about: what the run depends on: feature network, data, and the checkpoint it started from.
        versions: the versions of cpca_jax, jax and numpy that wrote the checkpoint.
        files: the SHA-256 of every other file, by its path relative to the folder.
        protected: whether the manifest states its own digest. Only then was the state checked for
            numbers that are not finite when it was saved.
    """

    step: int
    about: Mapping[str, str]
    versions: Mapping[str, str]
    files: Mapping[str, str]
    protected: bool = True

    @property
    def digest(self) -> str:
        """The SHA-256 over everything stated, which identifies the checkpoint wherever it lies."""
        stated = json.dumps(_stated(self), sort_keys=True).encode()
        return hashlib.sha256(stated).hexdigest()


def as_json(manifest: Manifest) -> str:
    """Return the text of the manifest."""
    whole = _stated(manifest) | {_DIGEST: manifest.digest}
    return json.dumps(whole, indent=1, sort_keys=True)


def read(folder: Path) -> Manifest:
    """Read the manifest of the checkpoint in a folder; the other files are not looked at.

    Raises:
        CheckpointError: the manifest is missing, is not one, was changed, or belongs to another
            step than the folder's name says. The message is a predicate without a subject.
    """
    try:
        written = json.loads(read_small(folder / NAME, error=CheckpointError))
    except FileNotFoundError:
        raise CheckpointError("its manifest is missing") from None
    except (CheckpointError, OSError, ValueError, RecursionError) as error:
        from cpca_jax.runtime import circumstances  # rarely needed

        said = circumstances.cause(error, damaged="it is damaged")
        raise CheckpointError(f"its manifest cannot be read: {said}") from error
    if not _is_one(written):
        raise CheckpointError("its manifest does not have the form of one")
    own = written.pop(_DIGEST, None)
    manifest = Manifest(**written, protected=own is not None)
    if own not in {None, manifest.digest}:
        raise CheckpointError("its manifest was changed")
    if str(manifest.step) != folder.name:
        raise CheckpointError(f"it is that of step {manifest.step} under another name")
    return manifest


def _stated(manifest: Manifest) -> dict[str, Any]:
    parts = dataclasses.asdict(manifest)
    del parts["protected"]
    return parts


def _is_one(written: Any) -> bool:
    """Tell whether parsed JSON has exactly the parts of a manifest, each of the right kind."""
    names = {field.name for field in dataclasses.fields(Manifest)} - {"protected"}
    if not isinstance(written, dict) or set(written) - {_DIGEST} != names:
        return False
    texts = [written[name] for name in ("about", "versions", "files")]
    return (
        type(written["step"]) is int
        and isinstance(written.get(_DIGEST, ""), str)
        and all(isinstance(part, dict) for part in texts)
        and all(isinstance(value, str) for part in texts for value in part.values())
        and "cpca_jax" in written["versions"]
    )
