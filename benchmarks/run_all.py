"""All benchmarks in at most ten minutes: python -m benchmarks.run_all [--json FILE].

Writes benchmarks/results/DEVICE-DATE.json, anew after each of them, so that an interrupted call
leaves what it had. What the time does not suffice for is left out and named.
"""

import time
from pathlib import Path
from typing import Any

from benchmarks import (
    ceilings,
    compiling,
    denoise_series,
    inference,
    machine,
    patches,
    script,
    simulation,
    training_step,
)
from benchmarks.session import Measure, Session
from cpca_jax.runtime import logs

RESULTS = Path(__file__).parent / "results"
# In the order of what they tell, each with its share of the time; what one does not need the next
# ones have.
ALL: dict[str, tuple[Measure, float]] = {
    "ceilings": (ceilings.measure, 0.05),
    "training_step": (training_step.measure, 0.40),
    "inference": (inference.measure, 0.25),
    "patches": (patches.measure, 0.05),
    "denoise_series": (denoise_series.measure, 0.10),
    "compiling": (compiling.measure, 0.10),
    "simulation": (simulation.measure, 0.05),
}
# After so long nothing new begins: the longest single case then still ends within ten minutes.
_MINUTES = 8.0


def main() -> None:
    """Run them, one after the other."""
    made = script.parser("run_all")
    made.add_argument("--minutes", type=float, default=_MINUTES, help="begin nothing later")
    options = made.parse_args()
    session = script.start(options)
    described = session.describe()
    path = options.json or RESULTS / f"{machine.file_name(described)}.json"
    result: dict[str, Any] = {"size": options.size, "machine": described, "benchmarks": {}}
    session.deadline = time.monotonic()
    for name, (measure, share) in ALL.items():
        logs.say(f"\n== {name}")
        session.deadline += 60 * options.minutes * share
        result["benchmarks"][name] = _one(session, name, measure)
        result["notes"] = session.notes
        script.write(path, result)
    logs.say(f"\nwritten: {path}")
    failed = [name for name, found in result["benchmarks"].items() if "failed" in found]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _one(session: Session, name: str, measure: Measure) -> dict[str, Any]:
    """A benchmark's result; one that fails does not keep the others."""
    try:
        return session.result(name, measure)
    except Exception as error:  # whatever it is, it is in the result and in the exit code
        failure = f"{type(error).__name__}: {error}"
        session.note(f"{name} failed: {failure}")
        return {"benchmark": name, "failed": failure}


if __name__ == "__main__":
    main()
