"""Time denoise.py from files to files: python -m benchmarks.programs.denoise_series.

Each call starts the program anew on a temporary DICOM series. Its own record holds the seconds of
reading, network and writing; they overlap, so their sum exceeds the whole.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import command_line
from benchmarks.harness.session import Session
from benchmarks.measuring.environment import CHECKOUT
from benchmarks.measuring.tables import Row
from benchmarks.measuring.timing import Patience, Times, alternate
from benchmarks.subjects.sizes import StepCase
from benchmarks.subjects.synthetic_series import write_series
from benchmarks.subjects.trainings import make_subject
from cpca_jax.denoising.denoiser import IDENTITY
from cpca_jax.runs import config, saving

_ROUNDS = 2


def measure(session: Session) -> Sequence[Row]:
    """Return a row for every denoiser and encoding of the source."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            _row(session, Path(folder), slices, compressed)
            for slices, compressed in session.in_time(session.sizes.runs)
        ]


class _Program:
    """denoise.py on one series; each call denoises it into a folder of its own."""

    def __init__(self, run: str | Path, source: Path, output: Path) -> None:
        self._run, self._source, self._output = run, source, output
        self.records: list[dict[str, Any]] = []

    def __call__(self) -> None:
        output = self._output / str(len(self.records))
        flags = ["--run", self._run, "--input", self._source, "--output", output]
        command = [sys.executable, CHECKOUT / "denoise.py", *flags]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"denoise.py failed: {done.stderr.strip()[-500:]}")
        (written,) = (path for path in output.glob("*.json") if path.stem != "summary")
        self.records.append(json.loads(written.read_text()))

    def seconds(self, activity: str) -> Times:
        """Return the seconds that the program itself measured, one for each call."""
        return Times(tuple(record["seconds"].get(activity, 0.0) for record in self.records))


def _row(session: Session, folder: Path, slices: int, compressed: bool) -> Row:
    sizes = session.sizes
    source = folder / ("compressed" if compressed else "plain")
    if not source.exists():
        write_series(source, slices=sizes.series, edge=sizes.edge, compressed=compressed)
    name = f"cpca-{slices}" if slices else IDENTITY
    run = _untrained(session, folder / name, slices) if slices else name
    program = _Program(run, source, folder / f"{name}-of-{source.name}")
    patience = Patience(min(_ROUNDS, sizes.patience.rounds // 2), sizes.patience.seconds)
    whole = alternate({name: program}, patience, warm=False)[name]
    busy = {f"{what} s": program.seconds(what) for what in ("reading", "network", "writing")}
    return {
        "run": name,
        "source": "JPEG 2000" if compressed else "uncompressed",
        "slices": sizes.series,
        "slices/s": sizes.series / program.seconds("all").median,
        "series s": program.seconds("all"),
        **busy,
        "program s": whole,
    }


def _untrained(session: Session, run: Path, slices: int) -> Path:
    """Write a run with random weights, which is as quick as a trained one."""
    if not run.exists():
        subject = make_subject(session.sizes, StepCase(1), slices=slices)
        text = config.to_json(subject.experiment)
        run.mkdir()
        (run / "config.json").write_text(text)
        saving.save(run, subject.start(), text, about={"data": "none, a benchmark"}, keep=1)
    return run


if __name__ == "__main__":
    command_line.run("denoise_series", measure)
