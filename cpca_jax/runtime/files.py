"""Folders and files that appear complete or not at all."""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cpca_jax.errors import InputError, OutputError, TakenError


@contextlib.contextmanager
def appearing(root: Path) -> Iterator[Path]:
    """Give a hidden folder beside `root` that gets its name when the block ends well.

    Only the owner may enter it (mode 0700), because it holds images of patients. When the block
    raises, or `root` has appeared in the meantime, it is removed.

    Args:
        root: the folder to be; may not exist, or be empty. Its parents are made.

    Yields:
        Where to write.

    Raises:
        TakenError: `root` is there already.
        OutputError: the disk does not take it.
    """
    with disk_errors(root.name):
        root.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{root.name}."
        partial = Path(tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=root.parent))
    try:
        yield partial
        with disk_errors(root.name):
            sync_folder(partial)
            try:
                os.rename(partial, root)  # replaces an empty folder, never a full one
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                raise TakenError(f"{root.name}: is there already, was written meanwhile") from None
            sync_folder(root.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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


def write_file(path: Path, content: bytes) -> None:
    """Write a file that appears complete, readable by its owner only.

    Raises:
        OutputError: the disk does not take it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with disk_errors(path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.touch(mode=0o600)
            partial.write_bytes(content)
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors(name: str, *, error: type[InputError] = OutputError) -> Iterator[None]:
    """Say what the disk refused, as an `error` with the name of what was to be written."""
    try:
        yield
    except OSError as refusal:
        reason = refusal.strerror or type(refusal).__name__
        raise error(f"{name}: cannot be written: {reason}") from refusal


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
