"""Time functions that are to be compared: by turns, in one process."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

# A function that does the work and returns when the work is done.
Contestant = Callable[[], Any]

# The shortest measurement. Quicker calls are repeated until they fill it, so that the clock and the
# start of the device's work weigh little.
_LEAST_SECONDS = 0.05
_MOST_CALLS = 1000
# The threads of one library spin for a while after its call. They have stopped after this pause.
_PAUSE_SECONDS = 0.02
# The fewest rounds that a median is taken of.
_FEWEST_ROUNDS = 3


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of one call, measured several times.

    Attributes:
        seconds: of each round.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, which tables show."""
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """The seconds of the quickest round."""
        return min(self.seconds)

    @property
    def most(self) -> float:
        """The seconds of the slowest round."""
        return max(self.seconds)

    def per(self, pieces: int) -> "Times":
        """Return the seconds for each of the equal pieces that one call works on."""
        return Times(tuple(seconds / pieces for seconds in self.seconds))

    def as_json(self) -> dict[str, Any]:
        """Return the summary that a result file holds."""
        summary = {"median": self.median, "min": self.least, "max": self.most}
        return {**summary, "rounds": len(self.seconds)}


@dataclasses.dataclass(frozen=True)
class Patience:
    """The time that one measurement may take.

    Attributes:
        rounds: the largest number of rounds.
        seconds: after this time no round begins, once there are three.
    """

    rounds: int
    seconds: float


def blocking(function: Callable[..., Any], *arguments: Any) -> Contestant:
    """Return a call of a JAX function that ends when its result has been computed."""
    return lambda: jax.block_until_ready(function(*arguments))


def alternate(
    contestants: Mapping[str, Contestant], patience: Patience, *, warm: bool = True
) -> dict[str, Times]:
    """Time several contestants by turns: A B A B ..., so that a busy machine is busy for all.

    Args:
        contestants: functions to compare, by name.
        patience: the time that the measurement may take.
        warm: call each function twice beforehand (the first call compiles), and repeat quick calls
            within a round. Otherwise each round is one call, and nothing is called beforehand.

    Returns:
        Seconds of one call of each contestant.
    """
    calls = {name: _warm_up(run) if warm else 1 for name, run in contestants.items()}
    rounds: dict[str, list[float]] = {name: [] for name in contestants}
    start = time.perf_counter()
    for done in range(max(patience.rounds, 1)):
        if done >= _FEWEST_ROUNDS and time.perf_counter() - start > patience.seconds:
            break
        for name, run in contestants.items():
            time.sleep(_PAUSE_SECONDS)
            rounds[name].append(_seconds(run, calls[name]))
    return {name: Times(tuple(seconds)) for name, seconds in rounds.items()}


def _warm_up(run: Contestant) -> int:
    """Call twice, and return the number of calls that make one measurement."""
    run()
    return min(max(math.ceil(_LEAST_SECONDS / max(_seconds(run, 1), 1e-9)), 1), _MOST_CALLS)


def _seconds(run: Contestant, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
