"""The logs of a run: JSON lines, one object a step, and event files for TensorBoard.

One damaged byte costs no more than its line. A process that is killed while it writes leaves a
torn last line, which has no line feed. Any other line that cannot be read was damaged afterwards:
it is named and kept where it is.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from cpca_jax.errors import InputError
from cpca_jax.runtime import circumstances, files, logs
from cpca_jax.runtime.files import read_small
from cpca_jax.types import Say

Row = dict[str, float]
# A row takes some hundred bytes, and long trainings have a million.
_MOST_BYTES = 1 << 30


class Line(NamedTuple):
    """One line of a log.

    Attributes:
        text: Its bytes, with the line feed.
        row: The object in it, null as NaN; None if the line cannot be read.
    """

    text: bytes
    row: Row | None


class RunLog:
    """Scalars of a run: files `NAME.jsonl` and, next to them, TensorBoard event files.

    When a run resumes, the lines of steps that will be repeated are dropped first.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        from tensorboardX import SummaryWriter

        self._folder, self._first_step = folder, first_step
        self._files: dict[str, TextIO] = {}
        purge = first_step + 1 if first_step else None
        with circumstances.disk_errors(folder.name):
            self._events = SummaryWriter(str(folder / "events"), purge_step=purge)
        self._lost: list[OSError] = []
        _keep_writing(self._events, self._lost)

    def write(self, name: str, step: int, scalars: Mapping[str, float]) -> None:
        """Append one line to `name`.jsonl and one point per scalar to the event file."""
        line: dict[str, float | int | None] = {"step": step}
        line |= {k: v if math.isfinite(v) else None for k, v in scalars.items()}
        file = self._files.get(name) or self._open(name)
        with circumstances.disk_errors(f"{name}.jsonl"):
            file.write(json.dumps(line) + "\n")
            file.flush()
        with circumstances.disk_errors("events"):
            if self._lost:
                raise self._lost[0]
        for key, value in scalars.items():
            self._events.add_scalar(f"{name}/{key}", value, step)

    def close(self) -> None:
        """Flush and close every file."""
        self._events.close()
        for name, file in self._files.items():
            with circumstances.disk_errors(f"{name}.jsonl"):
                file.close()

    def _open(self, name: str) -> TextIO:
        path = self._folder / f"{name}.jsonl"
        # A training that starts at step 0 scores that step again.
        last = self._first_step or -1
        kept = lines_before(read_lines(path), last)
        files.write_file(path, b"".join(line.text for line in kept), shared=True)
        self._files[name] = path.open("a")
        return self._files[name]


def _keep_writing(events: Any, lost: list[OSError]) -> None:
    """Let the thread that writes event files outlive an error of the disk, and note the error.

    Without its thread, the queue of events fills and the training waits for ever.
    """
    writer = events.file_writer.event_writer._ev_writer

    def noting(call: Callable[..., Any]) -> Callable[..., None]:
        def noted(*arguments: Any) -> None:
            try:
                call(*arguments)
            except OSError as error:
                lost.append(error)

        return noted

    for name in ("write_event", "flush", "close"):
        setattr(writer, name, noting(getattr(writer, name)))


class NoLog:
    """A log that writes nothing, for all processes but the first."""

    def write(self, name: str, step: int, scalars: Mapping[str, float]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


# What a training writes its scalars to.
Log = RunLog | NoLog


def read_jsonl(path: Path) -> list[Row]:
    """Return the rows of a log, null as NaN, and warn of each line that cannot be read."""
    return [line.row for line in read_lines(path) if line.row is not None]


def read_lines(path: Path, *, say: Say = logs.say) -> list[Line]:
    """Return the lines of a log without a torn last one; a missing file has none.

    Args:
        path: The log.
        say: A function that is told of each line that cannot be read.
    """
    if not path.exists():
        return []
    *whole, rest = read_small(path, error=InputError, most=_MOST_BYTES).split(b"\n")
    lines = [Line(text + b"\n", _row(text)) for text in whole]
    if (row := _row(rest)) is not None:
        lines.append(Line(rest + b"\n", row))
    elif rest:
        say(f"warning: {path.name}: its last line is torn and is left out")
    for number, line in enumerate(lines, start=1):
        if line.row is None:
            say(
                f"warning: {path.name}: line {number} cannot be read, perhaps for a damaged byte; "
                "it is kept but not used"
            )
    return lines


def lines_before(lines: Sequence[Line], step: int) -> list[Line]:
    """Return the lines of a log without those, at its end, of steps after `step`.

    These are the steps that a resumed training repeats. Only the end is cut: an earlier line that
    names a later step is damaged, and what follows it is sound. Lines that cannot be read stay.
    """
    kept = [number for number, line in enumerate(lines) if line.row and line.row["step"] <= step]
    end = kept[-1] + 1 if kept else 0
    return [*lines[:end], *(line for line in lines[end:] if line.row is None)]


def _row(text: bytes) -> Row | None:
    """Return the object in a line; None unless it has a step, and numbers or null throughout."""
    try:
        written = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(written, dict) or type(written.get("step")) is not int:
        return None
    if not all(value is None or _is_number(value) for value in written.values()):
        return None
    return {key: math.nan if value is None else value for key, value in written.items()}


def _is_number(value: object) -> bool:
    """Tell whether a value is one that a curve can show; JSON's integers have no limit."""
    return type(value) is float or (type(value) is int and abs(value) < 1 << 63)
