"""Files and folders that appear complete or not at all: no other module writes them so.

Everything is written in a hidden folder next to its place (`partials`), flushed to the disk, and
renamed. What only writers need is imported where it is used, because readers come here too.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from cpca_jax.errors import InputError, OutputError, TakenError

# The name, within a partial folder, of what is being written.
CONTENT = "content"
# Error numbers of a system or of a network share that cannot flush a folder's names to the disk.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS}
# The most bytes of a text that is read whole: far beyond any list of patients or of settings.
MOST_TEXT_BYTES = 2**26
# The end of a name, with its suffixes, that a hidden name keeps.
_ENDING = 40


@contextlib.contextmanager
def appearing(root: Path, *, shared: bool = False, replacing: bool = False) -> Iterator[Path]:
    """Make a hidden folder next to `root` that is renamed to `root` when the block succeeds.

    When the block raises, or `root` has appeared in the meantime, the folder is removed.

    Args:
        root: the final folder; it must not exist yet, or must be empty. Its parents are made.
        shared: give it the permissions that the process gives all its folders. By default only
            the owner may enter it (mode 0700), because it holds images of patients.
        replacing: remove an existing `root` once everything is on disk.

    Yields:
        The hidden folder to write into.

    Raises:
        TakenError: `root` exists already.
        OutputError: the disk refuses the folder.
    """
    from cpca_jax.runtime import circumstances, partials

    disk_errors = circumstances.disk_errors
    with ExitStack() as stack:
        with disk_errors(root.name):
            root.parent.mkdir(parents=True, exist_ok=True)
            hidden = stack.enter_context(partials.partial_folder(root))
            partial = hidden / CONTENT
            partial.mkdir(mode=0o777 if shared else 0o700)
        yield partial
        with disk_errors(root.name):
            publish(partial, root, replacing=replacing)


def publish(partial: Path, root: Path, *, replacing: bool = False) -> None:
    """Flush a folder and everything in it to the disk, then rename it to its final name.

    Args:
        partial: the folder as written; it lies next to `root`.
        root: the final name; it must not exist yet, or must be an empty folder.
        replacing: remove an existing `root`.

    Raises:
        TakenError: `root` exists already.
        OSError: the disk refuses the folder.
    """
    for path in partial.rglob("*"):
        sync(path)
    sync(partial)
    if replacing:
        shutil.rmtree(root, ignore_errors=True)
    try:
        try:
            os.rename(partial, root)
        except FileExistsError:  # Windows, where an empty folder is not replaced
            root.rmdir()
            os.rename(partial, root)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        raise TakenError(
            f"{root.name}: exists already; another process has written it in the meantime"
        ) from None
    sync(root.parent)


@contextlib.contextmanager
def whole_path(
    path: Path,
    *,
    shared: bool = False,
    replacing: bool = True,
    error: type[InputError] = OutputError,
) -> Iterator[Path]:
    """Make an empty hidden file next to `path` that is renamed to `path` when the block succeeds.

    This serves libraries that write to a path; the hidden file has the suffix of `path`. When the
    block raises, the hidden file is removed, and an existing `path` stays as it was.

    Args:
        path: the final file. Its parents are made.
        shared: give it the permissions that the process gives all its files. By default only its
            owner may read it (mode 0600).
        replacing: replace an existing file; otherwise an existing file is an error.
        error: the class of the error to raise.

    Yields:
        The hidden file to write to.

    Raises:
        InputError: an `error`; the disk refuses the file, or it exists and may not be replaced.
    """
    from cpca_jax.runtime import circumstances, partials

    with circumstances.disk_errors(path.name, error=error):
        path.parent.mkdir(parents=True, exist_ok=True)
        with partials.partial_folder(path) as hidden:
            partial = hidden / (CONTENT + "".join(path.suffixes[-2:])[-_ENDING:])
            mode = 0o666 if shared else 0o600
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
            yield partial
            sync(partial)
            if replacing or not _linked(partial, path):
                os.replace(partial, path)


@contextlib.contextmanager
def whole_file(path: Path, *, shared: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that appears complete or not at all; see `whole_path`.

    Raises:
        OutputError: the disk refuses the file.
    """
    with whole_path(path, shared=shared) as partial, partial.open("wb") as stream:
        yield stream


def write_file(path: Path, content: bytes, *, shared: bool = False) -> None:
    """Write a file that appears complete or not at all.

    Args:
        path: the file. Its parents are made; an existing file is replaced.
        content: the whole content.
        shared: give it the permissions that the process gives all its files. By default only its
            owner may read it (mode 0600).

    Raises:
        OutputError: the disk refuses the file.
    """
    with whole_file(path, shared=shared) as stream:
        stream.write(content)


def require_apart(
    output: Path, sources: Iterable[Path], *, error: type[InputError] = OutputError
) -> None:
    """Refuse an output folder that is a link or a file, or that lies within an input.

    An input that is a file stands for the folder that it lies in.

    Args:
        output: the folder that will be written.
        sources: the folders, or the files, that are read.
        error: the class of the error to raise.

    Raises:
        InputError: an `error` that names what is wrong.
    """
    absolute = Path(os.path.abspath(output))
    if absolute.is_symlink() or (absolute.exists() and not absolute.is_dir()):
        raise error(f"{absolute.name}: is not a folder; --output must be a folder and not a link")
    require_outside(absolute, sources, error=error)


def require_outside(
    output: Path,
    sources: Iterable[Path],
    *,
    error: type[InputError] = OutputError,
    flag: str = "--output",
) -> None:
    """Refuse an output that lies within an input, as `require_apart` does; it may be a link.

    Args:
        output: the folder or the file that will be written.
        sources: the folders, or the files, that are read.
        error: the class of the error to raise.
        flag: the flag that names the output.

    Raises:
        InputError: an `error` that names the output.
    """
    places = [source.resolve() for source in sources]
    places = [place.parent if place.is_file() else place for place in places]
    if any(output.resolve().is_relative_to(place) for place in places):
        raise error(f"{output.name}: lies in the input; {flag} must be outside it")


def sync(path: Path) -> None:
    """Flush a file's content or a folder's names to the disk.

    Folders on Windows and on some network shares cannot be flushed. The system writes their names
    sooner or later, so this is not an error.

    Raises:
        OSError: the disk refuses the content.
    """
    # Windows flushes only files that are open for writing.
    flags = os.O_RDWR if os.name == "nt" and path.is_file() else os.O_RDONLY
    try:
        handle = os.open(path, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        denied = isinstance(error, PermissionError)
        if not path.is_dir() or not (denied or error.errno in _NO_FOLDER_SYNC):
            raise


def is_special(path: Path) -> bool:
    """Tell whether a path leads to a named pipe, a socket or a device, which may block a reader."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def require_file(path: Path, *, error: type[InputError]) -> None:
    """Refuse a path that leads to nothing, to a folder, or to what may block or not be read.

    Raises:
        InputError: an `error` that says which.
    """
    if is_special(path):
        raise error(_special(path))
    if path.is_dir():
        raise error(f"{path.name}: is a folder, must be a file")
    if not path.is_file():
        raise error(f"{path.name}: no such file")
    from cpca_jax.runtime import circumstances

    with circumstances.disk_errors(path.name, error=error, verb="read"):
        path.open("rb").close()


def read_small(path: Path, *, error: type[InputError], most: int = MOST_TEXT_BYTES) -> bytes:
    """Read a file.

    Args:
        path: the file.
        error: the class of the error to raise.
        most: the most bytes that such a file may have.

    Raises:
        InputError: an `error`; the file is larger, or is a named pipe, a socket or a device.
        OSError: the file cannot be read.
    """
    if is_special(path):
        raise error(_special(path))
    with path.open("rb") as stream:
        content = stream.read(most + 1) if path.stat().st_size <= most else b""
        if len(content) > most or path.stat().st_size > most:
            raise error(f"{path.name}: has more than {most} bytes, must have {most} at most")
    return content


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _linked(partial: Path, path: Path) -> bool:
    """Link a file to its final name, never replacing a file; return False without hard links."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _special(path: Path) -> str:
    return f"{path.name}: is a pipe or a device, must be a file"
