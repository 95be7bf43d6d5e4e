"""Output to the console: lines and progress bars. `run_log` writes what stays on disk."""

import re
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")
_console = Console(highlight=False, soft_wrap=True)
# Without a terminal, a line replaces the bar this often.
_LINE_EVERY_SECONDS = 15.0
# A word longer than any name of a file is a value that is wrong; its beginning shows which.
_LONG_WORD = re.compile(r"(\S{80})\S{300,}")


def silence() -> None:
    """Stop all output to the console; only one of several processes reports."""
    _console.quiet = True


def escaped(text: str) -> str:
    r"""Return a text in which nothing steers a terminal, forges a line or breaks UTF-8.

    Control characters, marks of writing direction and bytes that are no UTF-8 become escapes such
    as `\x1b`; the line feeds of a message of several lines stay.
    """
    return "".join(
        one if one == "\n" or one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )


def one_line(text: str) -> str:
    r"""Return an escaped text in which a line feed is an escape, too: `\n`."""
    return escaped(text).replace("\n", r"\n")


def say(message: str) -> None:
    """Print one line to the user; a line feed in it belongs to a name, and is escaped."""
    show(one_line(message))


def show(text: str) -> None:
    """Print a text of several lines to the user, such as a table of our own."""
    _console.print(escaped(text), markup=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")


class ProgressBar:
    """Progress with rate and time left: a bar on a terminal, an occasional line elsewhere."""

    def __init__(self, description: str, total: int, done: int = 0) -> None:
        self._description, self._total, self._done = one_line(description), total, done
        self._first, self._start = done, time.monotonic()
        self._last_line = self._start
        self._bar: Progress | None = None
        if _console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
            )
            self._bar = Progress(
                *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=_console
            )
            self._task = self._bar.add_task(self._description, total=total, completed=done)

    def __enter__(self) -> "ProgressBar":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def begin(self) -> None:
        """Count time from now on, so that the time left does not count the compiling before it."""
        self._first, self._start = self._done + 1, time.monotonic()
        if self._bar:
            self._bar.reset(self._task, completed=self._done)

    def advance(self, note: str = "") -> None:
        """Count one more item as done and show `note` after the description."""
        self._done += 1
        if self._bar:
            self._bar.update(self._task, advance=1, description=f"{self._description} {note}")
            return
        now = time.monotonic()
        if now - self._last_line >= _LINE_EVERY_SECONDS or self._done == self._total:
            self._last_line = now
            each = (now - self._start) / max(self._done - self._first, 1)
            left = each * (self._total - self._done)
            say(
                f"  {self._description}: {self._done}/{self._total} {note} "
                f"({each:.2f} s each, {left:.0f} s left)"
            )


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield the items and show the progress."""
    with ProgressBar(description, total) as bar:
        for item in items:
            yield item
            bar.advance()


def complain(message: str) -> None:
    """Print one line to standard error."""
    short = _LONG_WORD.sub(r"\1...", message)
    print(escaped(short), file=sys.stderr)
