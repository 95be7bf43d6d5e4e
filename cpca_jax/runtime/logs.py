"""Output of a run: lines and progress bars on the console, JSON lines and event files on disk."""

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TextIO, TypeVar

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

from cpca_jax.runtime import files

T = TypeVar("T")
_console = Console(highlight=False, soft_wrap=True)
# Without a terminal, a line replaces the bar this often.
_LINE_EVERY_SECONDS = 15.0


def silence() -> None:
    """Stop all output to the console; only one of several processes reports."""
    _console.quiet = True


def say(message: str) -> None:
    """Print one line to the user."""
    _console.print(message, markup=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")


class ProgressBar:
    """Progress with rate and time left: a bar on a terminal, an occasional line elsewhere."""

    def __init__(self, description: str, total: int, done: int = 0) -> None:
        self._description, self._total, self._done = description, total, done
        self._first, self._start = done, time.monotonic()
        self._last_line = self._start
        self._bar: Progress | None = None
        if _console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
            self._bar = Progress(
                *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=_console
            )
            self._task = self._bar.add_task(description, total=total, completed=done)

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


class RunLog:
    """Scalars of a run: files `NAME.jsonl` and, next to them, TensorBoard event files.

    When a run resumes, the lines of steps that will be repeated are dropped first.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        from tensorboardX import SummaryWriter

        self._folder, self._first_step = folder, first_step
        self._files: dict[str, TextIO] = {}
        purge = first_step + 1 if first_step else None
        self._events = SummaryWriter(str(folder / "events"), purge_step=purge)

    def write(self, name: str, step: int, scalars: Mapping[str, float]) -> None:
        """Append one line to `name`.jsonl and one point per scalar to the event file."""
        line: dict[str, float | int | None] = {"step": step}
        line |= {k: v if math.isfinite(v) else None for k, v in scalars.items()}
        file = self._files.get(name) or self._open(name)
        file.write(json.dumps(line) + "\n")
        file.flush()
        for key, value in scalars.items():
            self._events.add_scalar(f"{name}/{key}", value, step)

    def close(self) -> None:
        """Flush and close every file."""
        self._events.close()
        for file in self._files.values():
            file.close()

    def _open(self, name: str) -> TextIO:
        path = self._folder / f"{name}.jsonl"
        kept = [row for row in read_jsonl(path) if row["step"] <= self._first_step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        files.write_file(path, text.encode(), shared=True)
        self._files[name] = path.open("a")
        return self._files[name]


class NoLog:
    """A log that writes nothing, for all processes but the first."""

    def write(self, name: str, step: int, scalars: Mapping[str, float]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def read_jsonl(path: Path) -> list[dict[str, float]]:
    """Return the rows of a JSON-lines file without the incomplete last line that a kill leaves."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def complain(message: str) -> None:
    """Print one line to standard error."""
    print(message, file=sys.stderr)
