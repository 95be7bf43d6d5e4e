"""Standard output and standard error that may be closed or full, or whose reader has gone.

A program must not lose its work because nobody reads what it prints: a stream that fails once is
silent from then on, and the work goes on.
"""

import contextlib
import errno
import os
import sys
from typing import Any

from cpca_jax.errors import OutputError
from cpca_jax.runtime.circumstances import reason

# The errors of a stream that someone closed on purpose: a pipe (`| head`), or a terminal.
_READER_GONE = {errno.EPIPE, errno.EIO, errno.EBADF}


class LastingStream:
    """A text stream that swallows the errors of the stream it writes to.

    Attributes:
        failure: the first error; None while all is well.
    """

    def __init__(self, stream: Any) -> None:
        """Wrap a stream; what cannot be encoded is written as an escape sequence."""
        self._stream = stream
        self.failure: OSError | None = None
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write a text, if the stream still takes it."""
        if self.failure is None:
            try:
                written: int = self._stream.write(text)
                return written
            except OSError as error:
                self._fail(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts, if the stream still takes them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream, if it still takes anything."""
        if self.failure is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    def __getattr__(self, name: str) -> Any:
        """Return everything else from the stream itself."""
        return getattr(self._stream, name)

    @property
    def lost(self) -> OSError | None:
        """The error through which a text was lost that somebody wanted to read; else None."""
        gone = self.failure is None or self.failure.errno in _READER_GONE
        return None if gone else self.failure

    def _fail(self, error: OSError) -> None:
        self.failure = error
        # What is left in buffers goes nowhere; otherwise the interpreter would complain at its end.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def make_lasting() -> None:
    """Make the streams of this process ones that never fail; programs call this first.

    A stream that the caller has closed (`>&-`) is opened to nowhere. Otherwise the next file that
    is opened would take its number, and messages of libraries would be written into that file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, which is this one.
            opened = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            os.set_inheritable(opened, True)
    sys.stdout = _lasting(sys.stdout)
    sys.stderr = _lasting(sys.stderr)


def _lasting(stream: Any) -> Any:
    # Of any type, because notebooks and tests replace streams by objects of their own.
    if isinstance(stream, LastingStream):
        return stream
    return LastingStream(open(os.devnull, "w") if stream is None else stream)


def output_failure() -> str:
    """Return why standard output was lost; "" where it was not, or where its reader has gone."""
    lost = sys.stdout.lost if isinstance(sys.stdout, LastingStream) else None
    return f"standard output: cannot be written: {reason(lost)}" if lost else ""


def require_output() -> None:
    """Require that what was printed is written, where it is all that the program does.

    Raises:
        OutputError: standard output was lost, though its reader has not gone.
    """
    if output_failure():
        raise OutputError(output_failure())
