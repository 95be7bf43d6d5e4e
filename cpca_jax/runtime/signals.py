"""Signals that ask a program to stop."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@dataclasses.dataclass
class Stop:
    """A note of whether the program was asked to stop."""

    asked: bool = False


@contextlib.contextmanager
def stop_asked() -> Iterator[Stop]:
    """Note SIGTERM and Ctrl-C instead of ending at once; the second of a kind ends at once.

    Outside the main thread, where Python receives no signals, nothing is changed or noted.

    Yields:
        The note that a signal sets; read it where the program can stop in good order.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        signal.signal(number, before[number])

    before = {int(number): signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # A handler that was not set from Python reads as None; it can only be reset to the default.
    before = {number: signal.SIG_DFL if old is None else old for number, old in before.items()}
    try:
        for number in before:
            signal.signal(number, ask)
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
