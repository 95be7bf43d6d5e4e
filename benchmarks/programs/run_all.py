"""Run all benchmarks in at most ten minutes: python -m benchmarks.programs.run_all.

The program writes benchmarks/results/DEVICE-DATE.json anew after each benchmark, so that an
interrupted call leaves the results it had. It names the cases that the time did not suffice for.
"""

import time
from typing import Any

from benchmarks.harness import command_line, result_files
from benchmarks.harness.session import Measure, Session
from benchmarks.programs import (
    ceilings,
    compiling,
    denoise_series,
    inference,
    patches,
    simulation,
    training_step,
)
from cpca_jax.runtime import logs

# The most telling first, each with its share of the time. The next ones may use what one leaves.
ALL: dict[str, tuple[Measure, float]] = {
    "ceilings": (ceilings.measure, 0.05),
    "training_step": (training_step.measure, 0.40),
    "inference": (inference.measure, 0.25),
    "patches": (patches.measure, 0.05),
    "denoise_series": (denoise_series.measure, 0.10),
    "compiling": (compiling.measure, 0.10),
    "simulation": (simulation.measure, 0.05),
}
# No case begins after this time, so that the longest single case ends within ten minutes.
_MINUTES = 8.0


def main() -> None:
    """Run the benchmarks one after the other."""
    made = command_line.parser("run_all")
    made.add_argument(
        "--minutes", type=float, default=_MINUTES, help="begin no case after so many minutes"
    )
    options = made.parse_args()
    session = command_line.start(options)
    described = session.describe()
    path = options.json or result_files.RESULTS / f"{result_files.file_stem(described)}.json"
    result: dict[str, Any] = {"size": options.size, "machine": described, "benchmarks": {}}
    session.deadline = time.monotonic()
    for name, (measure, share) in ALL.items():
        logs.say(f"\n== {name}")
        session.deadline += 60 * options.minutes * share
        result["benchmarks"][name] = _result(session, name, measure)
        result["notes"] = session.notes
        result_files.write(path, result)
    logs.say(f"\nwritten: {path}")
    failed = [name for name, found in result["benchmarks"].items() if "failed" in found]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _result(session: Session, name: str, measure: Measure) -> dict[str, Any]:
    """Return the result of a benchmark, or its failure, which does not stop the others."""
    try:
        return session.result(name, measure)
    except Exception as error:  # the result and the exit code tell of any failure
        failure = f"{type(error).__name__}: {error}"
        session.note(f"{name} failed: {failure}")
        return {"benchmark": name, "failed": failure}


if __name__ == "__main__":
    main()
