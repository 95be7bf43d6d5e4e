"""denoise.py from files to files: python -m benchmarks.denoise_series [--json FILE].

The program itself, started anew each time, on a temporary DICOM series. Its own record says how
long reading, network and writing were busy; they overlap, so they add up to more than the whole.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import dicom_series, script
from benchmarks.session import Session
from benchmarks.sizes import StepCase
from benchmarks.subjects import subject
from benchmarks.table import Row
from benchmarks.timing import Patience, Times, alternate
from cpca_jax.denoising.denoiser import IDENTITY
from cpca_jax.runs import checkpoints, config

_CHECKOUT = Path(__file__).parent.parent
_ROUNDS = 2


def measure(session: Session) -> Sequence[Row]:
    """A row for every denoiser and encoding of the source."""
    with tempfile.TemporaryDirectory() as folder:
        return [_row(session, Path(folder), *run) for run in session.in_time(session.sizes.runs)]


class _Program:
    """denoise.py on one series; each call denoises it into a folder of its own."""

    def __init__(self, run: str | Path, source: Path, output: Path) -> None:
        self._run, self._source, self._output = run, source, output
        self.records: list[dict[str, Any]] = []

    def __call__(self) -> None:
        output = self._output / str(len(self.records))
        flags = ["--run", self._run, "--input", self._source, "--output", output]
        command = [sys.executable, _CHECKOUT / "denoise.py", *flags]
        done = subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"denoise.py failed: {done.stderr.strip()[-500:]}")
        (written,) = (path for path in output.glob("*.json") if path.stem != "summary")
        self.records.append(json.loads(written.read_text()))

    def seconds(self, activity: str) -> Times:
        """What the program measured, in each call."""
        return Times(tuple(record["seconds"].get(activity, 0.0) for record in self.records))


def _row(session: Session, folder: Path, slices: int, compressed: bool) -> Row:
    sizes = session.sizes
    source = folder / ("compressed" if compressed else "plain")
    if not source.exists():
        dicom_series.write(source, slices=sizes.series, edge=sizes.edge, compressed=compressed)
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
    """A run whose weights are as they were drawn: as quick as any."""
    if not run.exists():
        of = subject(session.sizes, StepCase(1), slices=slices)
        text = config.to_json(of.experiment)
        run.mkdir()
        (run / "config.json").write_text(text)
        checkpoints.save(run, of.start(), text, about={"data": "none, a benchmark"}, keep=1)
    return run


if __name__ == "__main__":
    script.run("denoise_series", measure)
