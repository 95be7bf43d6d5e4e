"""Locks between processes, so that one folder has one writer."""

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path

from cpca_jax.errors import InputError
from cpca_jax.runtime import logs
from cpca_jax.runtime.circumstances import disk_errors
from cpca_jax.types import Say

# Error numbers of a file system that has no locks.
_NO_LOCKS = {
    *(errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP),
    *(errno.ENOSYS, errno.EINVAL, errno.EBADF),
}
# The device numbers of file systems that the user has been warned about.
_said: set[int] = set()


@contextlib.contextmanager
def hold(
    path: Path,
    name: str,
    refusal: str,
    *,
    error: type[InputError] = InputError,
    say: Say = logs.say,
) -> Iterator[None]:
    """Hold a lock file while the block runs; do not wait for another process that holds it.

    The lock ends with the process, however the process ends. A lock file that a killed process
    left behind does no harm. Where the file system has no locks, the block runs without one.

    Args:
        path: the lock file, which is removed afterwards; its folder is made.
        name: the name of the locked thing, for messages.
        refusal: the predicate of the message when another process holds the lock, such as "is
            being written by another program".
        error: the class of the error to raise.
        say: the function that is told, once for each file system, that it has no locks.

    Raises:
        InputError: an `error`; another process holds the lock, or the disk refuses the lock file.
    """
    import filelock

    # FileLock would fall back to a mere file where the system has no locks, and that file would
    # stay locked after the process that holds it is killed.
    native = filelock.WindowsFileLock if sys.platform == "win32" else filelock.UnixFileLock
    lock = native(path, blocking=False, thread_local=False, fallback_to_soft=False)
    with disk_errors(name, error=error):
        try:
            lock.acquire()
        except filelock.Timeout:
            raise error(f"{name}: {refusal}") from None
        except (NotImplementedError, OSError) as refused:
            if isinstance(refused, OSError) and refused.errno not in _NO_LOCKS:
                raise
            _say_once(path, name, say)
    try:
        yield
    finally:
        # The file is removed while the lock is held; otherwise another process could hold a file
        # that has no name any more. Windows cannot remove an open file: there it is removed
        # afterwards, unless another process holds it.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                path.unlink(missing_ok=True)


def _say_once(path: Path, name: str, say: Say) -> None:
    device = path.parent.stat().st_dev
    if device not in _said:
        _said.add(device)
        say(
            f"warning: {name}: its file system has no locks; make sure that no second process "
            "writes there"
        )
