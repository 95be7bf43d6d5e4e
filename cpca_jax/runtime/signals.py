"""Signals that ask a program to stop.

SIGTERM comes from schedulers, SIGHUP from a terminal that closes, SIGUSR1 and SIGUSR2 from Slurm
before a time limit, and SIGINT from Ctrl-C. What was ignored when the program started, as SIGHUP is
under nohup, stays ignored. Outside the main thread, where Python receives no signals, nothing here
changes or notes anything.
"""

import contextlib
import dataclasses
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# Stopped as asked ("try again later" in sysexits.h), or interrupted by Ctrl-C.
STOPPED, INTERRUPTED = 75, 130
# Windows has neither SIGHUP nor SIGUSR1 and SIGUSR2.
ASKING = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
_PLAIN = (signal.SIGTERM, signal.SIGINT)
Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers
# How long a signal that comes during an import waits until it is raised again.
_RETRY_SECONDS = 0.05


class StopSignal(KeyboardInterrupt):
    """A signal other than Ctrl-C asks the program to stop."""


@dataclasses.dataclass
class Stop:
    """A note of whether the program was asked to stop."""

    asked: bool = False


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Turn a signal into an exception, so that half-written files are removed, then into an exit.

    Programs enter this before their heavy imports. No exception is raised within an import, where
    it could be lost: there the signal waits until the import ends.

    Raises:
        SystemExit: with 75 after SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2, with 130 after Ctrl-C.
    """
    try:
        with _handled(_interrupt):
            yield
    except StopSignal:
        _complain("stopped as asked")
        sys.exit(STOPPED)
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(INTERRUPTED)


@contextlib.contextmanager
def stop_asked() -> Iterator[Stop]:
    """Note the signals instead of ending at once; the second of a kind ends at once.

    Yields:
        The note that a signal sets; read it where the program can stop in good order.
    """
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        signal.signal(number, before[number])

    with _handled(ask) as before:
        yield stop


def _complain(what: str) -> None:
    # Not by `logs`, whose import takes longer than a signal may.
    with contextlib.suppress(OSError):  # of a terminal that has closed
        sys.stderr.write(f"{what}; run the same command again to continue\n")


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _in_import(frame):
        retry = threading.Timer(_RETRY_SECONDS, signal.raise_signal, (number,))
        retry.daemon = True
        retry.start()
        return
    raise KeyboardInterrupt if number == signal.SIGINT else StopSignal


def _in_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[dict[int, Handler]]:
    """Give the asking signals this handler, and yield those that they had; restore them in the end.

    A signal keeps a handler that is not the default one or ours, if it is one that only the
    programs here take for a wish to stop: a host application may use it otherwise.
    """
    before: dict[int, Handler] = {}
    if threading.current_thread() is threading.main_thread():
        for number in ASKING:
            old = signal.getsignal(number)
            free = number in _PLAIN or old in {signal.SIG_DFL, _interrupt}
            if old != signal.SIG_IGN and free:
                # A handler that was not set from Python reads as None and can only be reset.
                before[number] = signal.SIG_DFL if old is None else old
    try:
        for number in before:
            signal.signal(number, handler)
        yield before
    finally:
        for number, old in before.items():
            signal.signal(number, old)
