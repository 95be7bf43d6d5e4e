"""The check of a store's volumes against the digests of its manifest, once per process and file.

A flipped bit shifts a score by decibels, so a volume is read whole before it is used. What was
found is kept in memory only: a note on disk would vouch for a file that went bad in the meantime.
"""

import dataclasses
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from cpca_jax.data.store.manifest import ArrayFile
from cpca_jax.errors import StoreError
from cpca_jax.runtime import circumstances, logs

# The bytes read at once; the memory that a check takes.
_CHUNK = 2**20
# A check that takes longer shows its progress.
_QUIET_SECONDS = 3.0
# Systems note the time of a change in steps of up to two seconds. A file that was changed so
# shortly before it was read may change again without a new time, so it is read again next time.
_STEP_NS = 2 * 10**9


@dataclasses.dataclass(frozen=True)
class _State:
    """What a system says about a file; no write leaves all of it as it was."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    def same_file(self, other: "_State") -> bool:
        return (self.device, self.inode) == (other.device, other.inode)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """A file that had its digest: the state it had then, and whether that state can be trusted."""

    state: _State
    sha256: str
    settled: bool


_SEEN: dict[Path, _Seen] = {}


def require_sound(root: Path, files: Iterable[ArrayFile]) -> None:
    """Refuse volumes that are not as the manifest says.

    Every file is read once per process, or again after a change.

    Args:
        root: the store's folder.
        files: the volumes that will be used.

    Raises:
        StoreError: a file has another digest, or cannot be read.
    """
    waiting = [file for file in files if not _known(root, file)]
    total = sum(_size(root, file) for file in waiting)
    progress = _Progress(total)
    try:
        for file in waiting:
            _check(root, file, progress)
    finally:
        progress.close()


def require_unchanged(root: Path, files: Iterable[ArrayFile]) -> None:
    """Refuse volumes that were changed in place since they were checked, while they are mapped.

    A volume that was deleted, or replaced by another file of its name, stays as it was for a
    process that has mapped it, and passes.

    Args:
        root: the store's folder.
        files: volumes that `require_sound` has checked in this process.

    Raises:
        StoreError: a file has another digest, or cannot be read.
    """
    mapped: list[ArrayFile] = []
    for file in files:
        seen, state = _SEEN.get(_place(root, file)), _state(root / file.file)
        if seen is None or state is None or not state.same_file(seen.state):
            continue
        mapped.append(file)
    require_sound(root, mapped)


def _check(root: Path, file: ArrayFile, progress: "_Progress") -> None:
    path, before = root / file.file, _state(root / file.file)
    started_ns = time.time_ns()
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                progress.advance(len(chunk))
    except OSError as error:
        reason = circumstances.reason(error)
        raise StoreError(f"{root.name}: {file.file} cannot be read: {reason}") from error
    found = digest.hexdigest()
    if found != file.sha256:
        _SEEN.pop(_place(root, file), None)
        raise StoreError(
            f"{root.name}: {file.file} has SHA-256 {found[:12]}..., must be "
            f"{file.sha256[:12]}...; it is damaged: prepare the store again, or copy it again"
        )
    if before is not None:
        settled = max(before.modified_ns, before.changed_ns) < started_ns - _STEP_NS
        _SEEN[_place(root, file)] = _Seen(before, found, settled)


def _known(root: Path, file: ArrayFile) -> bool:
    """Tell whether this process has found the file sound, and the file has not changed since."""
    seen = _SEEN.get(_place(root, file))
    if seen is None or not seen.settled or seen.sha256 != file.sha256:
        return False
    return _state(root / file.file) == seen.state


def _place(root: Path, file: ArrayFile) -> Path:
    return Path(os.path.abspath(root / file.file))


def _state(path: Path) -> _State | None:
    """Return the state of a file; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return _State(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _size(root: Path, file: ArrayFile) -> int:
    state = _state(root / file.file)
    return state.size if state else 0


class _Progress:
    """A progress bar in MiB that appears only when a check takes long."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._shown = total, 0, 0
        self._start = time.monotonic()
        self._bar: logs.ProgressBar | None = None

    def advance(self, count: int) -> None:
        self._done += count
        if self._bar is None:
            if time.monotonic() - self._start < _QUIET_SECONDS or self._done >= self._total:
                return
            self._shown = self._done // _CHUNK
            whole = -(-self._total // _CHUNK)
            self._bar = logs.ProgressBar("checking the store's volumes, MiB", whole, self._shown)
            self._bar.__enter__()
        while self._shown < self._done // _CHUNK:
            self._shown += 1
            self._bar.advance()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
