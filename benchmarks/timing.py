"""Seconds of things that are to be compared: one after the other, over and over, in one process."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

# Does the work and returns when it is done.
Contestant = Callable[[], Any]

# Each measurement is made of so many calls that it takes this long: the clock and the way to the
# device then weigh little.
_LEAST_SECONDS = 0.05
_MOST_CALLS = 1000
# Threads of one library that still spin when the other begins have stopped after this.
_PAUSE_SECONDS = 0.02
# A median of fewer is none.
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
        """The middle one: what tables show."""
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """The quickest."""
        return min(self.seconds)

    @property
    def most(self) -> float:
        """The slowest."""
        return max(self.seconds)

    def per(self, pieces: int) -> "Times":
        """Seconds for each of so many pieces that a call works on."""
        return Times(tuple(seconds / pieces for seconds in self.seconds))

    def as_json(self) -> dict[str, Any]:
        """What the JSON file holds of it."""
        shown = {"median": self.median, "min": self.least, "max": self.most}
        return {**shown, "rounds": len(self.seconds)}


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to measure.

    Attributes:
        rounds: at most so many.
        seconds: no further round after so long, once there are three.
    """

    rounds: int
    seconds: float


def blocking(function: Callable[..., Any], *arguments: Any) -> Contestant:
    """A call of a JAX function that returns when its answer is there."""
    return lambda: jax.block_until_ready(function(*arguments))


def alternate(
    contestants: Mapping[str, Contestant], patience: Patience, *, warm: bool = True
) -> dict[str, Times]:
    """Time several contestants by turns: A B A B ..., so that a busy machine is busy for all.

    Args:
        contestants: what is compared, by name.
        patience: how long.
        warm: call each twice before (the first call compiles), and in each round so often in a
            row that the round can be measured; else once in each round, and nothing before.

    Returns:
        Seconds of one call of each.
    """
    calls = {name: _calls(run) if warm else 1 for name, run in contestants.items()}
    rounds: dict[str, list[float]] = {name: [] for name in contestants}
    start = time.perf_counter()
    for done in range(max(patience.rounds, 1)):
        if done >= _FEWEST_ROUNDS and time.perf_counter() - start > patience.seconds:
            break
        for name, run in contestants.items():
            time.sleep(_PAUSE_SECONDS)
            rounds[name].append(_seconds(run, calls[name]))
    return {name: Times(tuple(seconds)) for name, seconds in rounds.items()}


def _calls(run: Contestant) -> int:
    """How many calls make a measurement; warms up."""
    run()
    return min(max(math.ceil(_LEAST_SECONDS / max(_seconds(run, 1), 1e-9)), 1), _MOST_CALLS)


def _seconds(run: Contestant, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
