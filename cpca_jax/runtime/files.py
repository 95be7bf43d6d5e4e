"""Files and folders that appear complete or not at all: the only module that writes them so.

Everything is written under a hidden name beside its own, brought to the disk, and renamed.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from cpca_jax.errors import InputError, OutputError, TakenError

# Answers of a system or of a network share that cannot bring a folder's names to the disk.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS}


@contextlib.contextmanager
def appearing(root: Path, *, shared: bool = False, replacing: bool = False) -> Iterator[Path]:
    """Give a hidden folder beside `root` that gets its name when the block ends well.

    When the block raises, or `root` has appeared in the meantime, the folder is removed.

    Args:
        root: the folder to be; may not exist, or be empty. Its parents are made.
        shared: give it the permissions that the process gives all its folders. By default only
            the owner may enter it (mode 0700), because it holds images of patients.
        replacing: remove a `root` that is there, once everything is on disk.

    Yields:
        Where to write.

    Raises:
        TakenError: `root` is there already.
        OutputError: the disk does not take it.
    """
    partial = root.with_name(f".{root.name}.{secrets.token_hex(4)}.partial")
    with disk_errors(root.name):
        root.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir(mode=0o777 if shared else 0o700)
    try:
        yield partial
        with disk_errors(root.name):
            publish(partial, root, replacing=replacing)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, root: Path, *, replacing: bool = False) -> None:
    """Bring a folder and all that is in it to the disk, then give it its name.

    Args:
        partial: the folder as written; lies beside `root`.
        root: its name to be; may not exist, or be an empty folder.
        replacing: remove a `root` that is there.

    Raises:
        TakenError: `root` is there already.
        OSError: the disk does not take it.
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
        raise TakenError(f"{root.name}: is there already, was written meanwhile") from None
    sync(root.parent)


@contextlib.contextmanager
def whole_path(
    path: Path,
    *,
    shared: bool = False,
    replacing: bool = True,
    error: type[InputError] = OutputError,
) -> Iterator[Path]:
    """Give an empty hidden file beside `path` that gets its name when the block ends well.

    For libraries that write to a path; its ending is that of `path`. When the block raises, the
    file is removed and what was at `path` is left.

    Args:
        path: the file to be. Its parents are made.
        shared: give it the permissions that the process gives all its files. By default only its
            owner may read it (mode 0600).
        replacing: replace a file that is there; otherwise that is an error.
        error: what to raise.

    Yields:
        Where to write.

    Raises:
        InputError: an `error`; the disk does not take it, or it is there and not to be replaced.
    """
    partial = path.with_name(f".{secrets.token_hex(4)}.partial.{path.name}")
    with disk_errors(path.name, error=error):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            mode = 0o666 if shared else 0o600
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
            yield partial
            sync(partial)
            if replacing or not _linked(partial, path):
                os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_file(path: Path, *, shared: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that appears complete or not at all; see `whole_path`.

    Raises:
        OutputError: the disk does not take it.
    """
    with whole_path(path, shared=shared) as partial, partial.open("wb") as stream:
        yield stream


def write_file(path: Path, content: bytes, *, shared: bool = False) -> None:
    """Write a file that appears complete or not at all.

    Args:
        path: the file. Its parents are made; a file that is there is replaced.
        content: all of it.
        shared: give it the permissions that the process gives all its files. By default only its
            owner may read it (mode 0600).

    Raises:
        OutputError: the disk does not take it.
    """
    with whole_file(path, shared=shared) as stream:
        stream.write(content)


def require_apart(
    output: Path, sources: Iterable[Path], *, error: type[InputError] = OutputError
) -> None:
    """Refuse an output that is a link, a file, or lies within an input.

    Args:
        output: the folder to be.
        sources: the folders that are read.
        error: what to raise.

    Raises:
        InputError: an `error`, naming what is wrong.
    """
    absolute = Path(os.path.abspath(output))
    if absolute.is_symlink() or (absolute.exists() and not absolute.is_dir()):
        raise error(f"{absolute.name}: is not a folder, --output must be one, and no link")
    if any(absolute.resolve().is_relative_to(source.resolve()) for source in sources):
        raise error(f"{absolute.name}: lies in the input, --output must be outside it")


@contextlib.contextmanager
def disk_errors(name: str, *, error: type[InputError] = OutputError) -> Iterator[None]:
    """Say what the disk refused, as an `error` with the name of what was to be written."""
    try:
        yield
    except OSError as refusal:
        reason = refusal.strerror or type(refusal).__name__
        raise error(f"{name}: cannot be written: {reason}") from refusal


def sync(path: Path) -> None:
    """Bring a file's content or a folder's names to the disk.

    Folders of Windows and of some network shares cannot be synced. Their names are written
    sooner or later, so that is no error.

    Raises:
        OSError: the disk does not take it.
    """
    # Windows syncs only what is open for writing.
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


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _linked(partial: Path, path: Path) -> bool:
    """Give a file its name without replacing one that is there; False without hard links."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True
