"""Circumstances outside the program: a full disk, no permission, no memory, in one sentence each.

An error of the system says what failed; a user needs to know where, and what to do. A circumstance
is not a bug, so programs end with exit code 2 and one line.
"""

import contextlib
import errno
import os
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from cpca_jax.errors import InputError, OutputError

_AGAIN = "then run the same command again"
_PERMISSION = "ask for permission, or choose another folder"
_SHARE = f"check the disk or the network share, {_AGAIN}"
_NO_FOLDER = "choose a folder, none of whose parents is a file or a link that leads nowhere"
# What a user can do about each error of a disk, a folder or a stream. Windows and macOS lack some.
_ADVICE: dict[int, str] = {
    getattr(errno, name): advice
    for names, advice in {
        "ENOSPC": f"free some space there, {_AGAIN}",
        "EDQUOT": f"free some of your quota there, {_AGAIN}",
        "EFBIG": f"raise the limit on the size of files (ulimit -f), {_AGAIN}",
        "EACCES EPERM": _PERMISSION,
        "EROFS": "choose another folder",
        "ENOTDIR EEXIST ELOOP": _NO_FOLDER,
        "EISDIR": "a folder is in the place of a file",
        "ENOENT": "it is missing, or was removed or moved meanwhile",
        "ENAMETOOLONG": "choose a shorter name",
        "EMFILE ENFILE": f"raise the limit on open files (ulimit -n), {_AGAIN}",
        "ENOMEM": f"free some memory, {_AGAIN}",
        "EIO ESTALE ENXIO ENODEV ENOTCONN EREMOTEIO ETIMEDOUT EHOSTDOWN EHOSTUNREACH": _SHARE,
        "EBUSY ETXTBSY": f"wait until no other program uses it, {_AGAIN}",
        "EPIPE EBADF": "the program that read the output has gone",
        "EINVAL": "its file system does not take it; choose another folder",
    }.items()
    for name in names.split()
    if hasattr(errno, name)
}
# These need no path: they concern the disk, the process or its streams as a whole.
_WITHOUT_PATH = {
    getattr(errno, name)
    for name in [
        "ENOSPC",
        "EDQUOT",
        "EFBIG",
        "EROFS",
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "EIO",
        "ESTALE",
        "EPIPE",
    ]
    if hasattr(errno, name)
}
# Errors of JAX and XLA, by name, because nothing here may import JAX.
_XLA_ERRORS = {"XlaRuntimeError", "JaxRuntimeError"}
_MEMORY = (
    "memory is exhausted{of}; ask for less at once (a smaller --slab, --batch, "
    "--config.data.batch or --config.data.patch) or close other programs"
)


def reason(error: OSError) -> str:
    """Return what the system said, and what can be done about it."""
    error = _original(error)
    said = error.strerror or type(error).__name__
    advice = _ADVICE.get(error.errno or 0)
    if advice == _NO_FOLDER and (obstacle := _obstacle(error)):
        return f"{obstacle}; choose another folder"
    return f"{said}; {advice}" if advice else said


def cause(error: BaseException, *, damaged: str = "") -> str:
    """Return why something cannot be read: the system's reason, as `reason` says it, or damage.

    Messages of libraries are not quoted, because they may hold whole paths.

    Args:
        error: an error of a reader.
        damaged: what to say where neither the system refused nor memory ended; by default the
            error's class.
    """
    if isinstance(error, OSError) and _original(error).errno:
        return reason(error)
    if isinstance(error, MemoryError):
        return f"memory is exhausted; close other programs, {_AGAIN}"
    return damaged or type(error).__name__


@contextlib.contextmanager
def disk_errors(
    name: str, *, error: type[InputError] = OutputError, verb: str = "written"
) -> Iterator[None]:
    """Turn an OSError of the block into an `error` that names the place and the reason.

    A block that writes must not read an input, or the wrong one of the two would be blamed.

    Args:
        name: the name of what is written or read.
        error: the class of the error to raise.
        verb: "written", or "read" for a block that reads.
    """
    try:
        yield
    except OSError as refusal:
        raise error(f"{name}: cannot be {verb}: {reason(refusal)}") from refusal


def sentence(error: BaseException) -> str | None:
    """Return one sentence about an error that no code has translated; None for a bug.

    Args:
        error: an OSError that concerns a path, a disk or a stream; the end of the memory, in
            Python, NumPy or XLA; or any other error.
    """
    if isinstance(error, MemoryError):
        return _MEMORY.format(of="")
    if type(error).__name__ in _XLA_ERRORS:
        return _of_xla(str(error))
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return f"no more threads can be started; raise the limit (ulimit -u), {_AGAIN}"
    if not isinstance(error, OSError):
        return None
    error = _original(error)
    if error.errno not in _ADVICE:
        return None
    path = _path(error)
    if path is None:
        return reason(error) if error.errno in _WITHOUT_PATH else None
    # A file that an installation lacks is a fault of the installation, not of the user.
    return None if _installed(path) else f"{path.name or path}: {reason(error)}"


def _original(error: OSError) -> OSError:
    """Return the error of the system behind one that a library raised with a text of its own."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno:
            return behind
        behind = behind.__cause__ or behind.__context__
    # NumPy tells only how much of an array was written.
    if re.search(r"\d+ requested and \d+ written", str(error)):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return error


def _of_xla(text: str) -> str | None:
    if not text.startswith("RESOURCE_EXHAUSTED") and "out of memory" not in text.lower():
        return None
    wanted = re.search(r"allocat\w+ (\d[\d.]* ?\w*)", text)
    return _MEMORY.format(of=f" on the device ({wanted[1]} more were wanted)" if wanted else "")


def _obstacle(error: OSError) -> str:
    """Say which part of an error's path is no folder although it must be one; "" if none is."""
    path = _path(error)
    if path is None:
        return ""
    # A file that is in the place of a new file is no obstacle of this kind: links have two names.
    last = [path] if error.filename2 is None else []
    for part in [*reversed(path.parents), *last]:
        if part.is_symlink() and not part.exists():
            return f"{part.name} is a link that leads nowhere"
        if part.exists() and not part.is_dir():
            return f"{part.name} is a file, must be a folder"
    return ""


def _path(error: OSError) -> Path | None:
    named = error.filename2 or error.filename
    if isinstance(named, bytes):
        named = named.decode(errors="surrogateescape")
    return Path(named) if isinstance(named, str) and named else None


def _installed(path: Path) -> bool:
    """Tell whether a path lies in this package or in Python's own folders."""
    places = sysconfig.get_paths()
    roots = [Path(places[name]) for name in ("stdlib", "purelib", "platlib")]
    roots.append(Path(__file__).resolve().parents[1])
    return any(path.absolute().is_relative_to(root) for root in roots)
