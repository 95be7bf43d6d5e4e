"""Hidden folders in which files and folders are written before they get their names.

A partial folder is called .NAME.HEX.partial and lies next to NAME. It holds what is being written
and a lock that its writer holds, so that what a killed writer left can be told from what a living
one still writes.
"""

import contextlib
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOCK = "lock"
_FORM = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.partial", re.DOTALL)
# A hidden name is longer than its own by 18 bytes, and file systems take 255 bytes.
_LONGEST = 200
# Without a lock that can be trusted, a writer that has changed nothing for so long is dead.
_IDLE_SECONDS = 24 * 3600.0


@contextlib.contextmanager
def partial_folder(final: Path) -> Iterator[Path]:
    """Make a partial folder next to `final`, and remove it and what it holds afterwards.

    What killed writers of the same name have left is removed first.

    Yields:
        The folder, which only the owner may enter (mode 0700); it holds the lock.

    Raises:
        OSError: the folder cannot be made.
    """
    remove_leftovers(final.parent, name=final.name)
    folder = final.with_name(f".{_shortened(final.name)}.{secrets.token_hex(4)}.partial")
    folder.mkdir(mode=0o700)
    lock = None
    try:
        lock = _locked(folder / _LOCK)
        yield folder
    finally:
        if lock is not None:
            os.close(lock)
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, also while threads that have not heard of an error still write into it."""
    for wait_seconds in (0.0, 0.02, 0.1, 0.3):
        time.sleep(wait_seconds)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def remove_leftovers(folder: Path, *, name: str = "", recursive: bool = False) -> None:
    """Remove the partial folders whose writers are dead; what cannot be removed stays.

    Args:
        folder: the folder that they lie in; it need not exist.
        name: the name of the file or folder that was to be written; "" for every name.
        recursive: also look into the folders below.
    """
    wanted = _shortened(name)
    try:
        found = list(os.scandir(folder))
    except OSError:
        return
    for path in found:
        with contextlib.suppress(OSError):  # what another process removes meanwhile
            if not path.is_dir(follow_symlinks=False):
                continue
            match = _FORM.fullmatch(path.name)
            if match is None and recursive:
                remove_leftovers(Path(path), recursive=True)
            if match and wanted in ("", match["name"]) and _is_dead(Path(path)):
                shutil.rmtree(path, ignore_errors=True)


def _shortened(name: str) -> str:
    return os.fsencode(name)[:_LONGEST].decode(errors="ignore")


def _locked(path: Path) -> int | None:
    """Make and lock a file that names this machine; return None where there are no locks."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if fcntl is not None:
            # Locked before the name is there: only a lock file with a name proves a writer dead.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(handle, _machine())
            return handle
    except OSError:  # the file system has no locks, or no space: what follows will tell
        pass
    os.close(handle)
    return None


def _is_dead(folder: Path) -> bool:
    """Tell whether the writer of a partial folder has ended.

    Some network shares keep locks to one machine. So a lock that is free proves that only for a
    writer on this machine; for others, the time of the last change decides.
    """
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return _is_idle(folder)
    try:
        if fcntl is None:
            return _is_idle(folder)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.read(handle, 64) == _machine() or _is_idle(folder)
    except BlockingIOError:
        return False
    except OSError:
        return _is_idle(folder)
    finally:
        os.close(handle)


def _is_idle(folder: Path) -> bool:
    times = [path.lstat().st_mtime for path in (folder, *folder.rglob("*"))]
    return time.time() - max(times) > _IDLE_SECONDS


def _machine() -> bytes:
    """Return a digest of the machine's name."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:16].encode()
