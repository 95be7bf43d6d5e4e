"""Time phantoms and simulated doses: python -m benchmarks.programs.simulation."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks.harness import command_line
from benchmarks.harness.session import Session
from benchmarks.measuring.tables import Row
from benchmarks.measuring.timing import Contestant, Patience, Times, alternate
from cpca_jax.simulation import physics
from cpca_jax.simulation.calibration import calibrate
from cpca_jax.simulation.phantom.phantom import make_phantom

_DOSE = 0.25


def measure(session: Session) -> Sequence[Row]:
    """Return a row for each part, and one for the calibration to a series that is new to it."""
    sizes = session.sizes
    make = partial(make_phantom, 0, slices=sizes.simulated, size=sizes.edge)
    phantom = make()
    spacing, truth = phantom.spacing_mm, phantom.truth_hu
    full = physics.full_dose(truth, spacing_mm=spacing, seed=0)
    parts: dict[str, Contestant] = {
        "phantom": make,
        "full dose": partial(physics.full_dose, truth, spacing_mm=spacing, seed=0),
        "quarter dose": partial(physics.lower_dose, full, spacing_mm=spacing, dose=_DOSE, seed=0),
    }
    times = alternate(parts, sizes.patience)
    rows = [_row(name, sizes.simulated, seconds) for name, seconds in times.items()]
    return [*rows, _row("calibration, compiling included", sizes.phantom, _calibration(session))]


def _calibration(session: Session) -> Times:
    """Time calibrations to a new series each, as in a preparation: each compiles its scanner."""
    sizes = session.sizes
    series = []
    for seed in (1, 2):
        phantom = make_phantom(seed, slices=sizes.phantom, size=sizes.edge)
        noisy = physics.full_dose(phantom.truth_hu, spacing_mm=phantom.spacing_mm, seed=seed)
        series.append((np.rint(noisy), phantom.spacing_mm))
    waiting = iter(series)

    def run() -> object:
        volume_hu, spacing_mm = next(waiting)
        return calibrate(volume_hu, spacing_mm=spacing_mm)

    patience = Patience(rounds=len(series), seconds=sizes.patience.seconds)
    return alternate({"calibrate": run}, patience, warm=False)["calibrate"]


def _row(name: str, slices: int, seconds: Times) -> Row:
    return {
        "what": name,
        "slices": slices,
        "seconds": seconds,
        "seconds a slice": seconds.median / slices,
    }


if __name__ == "__main__":
    command_line.run("simulation", measure)
