"""Files of text from outside, such as JSON: read whole, so no larger than they can sensibly be."""

from pathlib import Path

from cpca_jax.errors import InputError
from cpca_jax.runtime.files import is_special

# Far beyond any list of patients or of settings: 64 MiB.
USUAL = 1 << 26


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
        raise error(f"{path.name}: is a pipe or a device, must be a file")
    with path.open("rb") as stream:
        content = stream.read(most + 1) if path.stat().st_size <= most else b""
        if len(content) > most or path.stat().st_size > most:
            raise error(f"{path.name}: has more than {most} bytes, must have {most} at most")
    return content
