"""Signals that ask a program to stop.

SIGTERM comes from schedulers, SIGHUP from a terminal that closes, SIGUSR1 and SIGUSR2 from Slurm
before a time limit, and SIGINT from Ctrl-C. What was ignored when the program started, as SIGHUP is
under nohup, stays ignored. Outside the main thread, where Python receives no signals, nothing here
changes or notes anything.
"""

import contextlib
import dataclasses
import os
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
# How long Python has to hear a signal before `ending_at_once` ends the process.
_HEARING_SECONDS = 1.0
# Whether this process is one of our programs; a host application is never ended.
_in_program = threading.Event()


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
    _in_program.set()
    try:
        with _handled(_interrupt):
            yield
    except StopSignal:
        _complain("stopped as asked")
        sys.exit(STOPPED)
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(INTERRUPTED)
    finally:
        _in_program.clear()


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


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """End a program on a signal even while a call out of Python runs, such as a compilation.

    Python hears a signal only between two steps of its own, and a compilation can take longer than
    a scheduler waits. Use it where nothing can be lost: the process ends without cleaning up.
    Outside our programs, and outside the main thread, it changes nothing.
    """
    if not _in_program.is_set() or threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    over = threading.Event()

    def listen() -> None:
        while number := os.read(reading, 1)[0]:
            if number in ASKING and signal.getsignal(number) != signal.SIG_IGN:
                if over.wait(_HEARING_SECONDS):
                    return
                _complain("stopped as asked")
                os._exit(INTERRUPTED if number == signal.SIGINT else STOPPED)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        over.set()
        os.write(writing, b"\0")
        thread.join()
        os.close(reading)
        os.close(writing)


def _complain(what: str) -> None:
    # Not by `logs`, whose import takes longer than a signal may.
    with contextlib.suppress(OSError):  # of a terminal that has closed
        sys.stderr.write(f"{what}; run the same command again to continue\n")


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _in_import(frame):
        # To the process, because a signal to the timer's thread would not wake a sleeping program.
        retry = threading.Timer(_RETRY_SECONDS, os.kill, (os.getpid(), number))
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
