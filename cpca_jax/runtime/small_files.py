"""Files of text from outside, such as JSON: read whole, so no larger than they can sensibly be."""

from pathlib import Path

from cpca_jax.errors import InputError
from cpca_jax.runtime.files import is_special

# Far beyond any list of patients or of settings: 64 MiB.
USUAL = 1 << 26


def require_file(path: Path, *, error: type[InputError]) -> None:
    """Refuse a path that leads to nothing, to a folder, or to what may block a reader.

    Raises:
        InputError: an `error` that says which.
    """
    if is_special(path):
        raise error(_special(path))
    if path.is_dir():
        raise error(f"{path.name}: is a folder, must be a file")
    if not path.is_file():
        raise error(f"{path.name}: no such file")


def read_small(path: Path, *, error: type[InputError], most: int = USUAL) -> bytes:
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


def _special(path: Path) -> str:
    return f"{path.name}: is a pipe or a device, must be a file"
