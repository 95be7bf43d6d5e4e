"""The session of one call: sizes, peers, ceilings, deadline, notes, and the result they give."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from benchmarks.measuring import environment, tables
from benchmarks.measuring.roofline import Ceilings, measure_ceilings
from benchmarks.measuring.tables import Row
from benchmarks.measuring.timing import Contestant, Times, alternate
from benchmarks.measuring.work import Work
from benchmarks.peers.installed import installed_peers
from benchmarks.peers.interface import Peer
from benchmarks.subjects.sizes import Sizes
from cpca_jax.runtime import logs

Case = TypeVar("Case")
# The columns of the package, and of the missing peer where there is none.
JAX, NO_PEER = "JAX", "torch"


@dataclasses.dataclass
class Session:
    """One call of a benchmark, or of all of them.

    Attributes:
        sizes: the sizes and cases.
        commit: the measured commit; None asks git.
        memory_kept: freed memory stays with the process, see `cpca_jax.runtime.memory`.
        deadline: no case begins after it (`time.monotonic`); None is never.
        notes: remarks that belong to the numbers: failures and cases that were left out.
    """

    sizes: Sizes
    commit: str | None = None
    memory_kept: bool = False
    deadline: float | None = None
    notes: list[str] = dataclasses.field(default_factory=list)

    @cached_property
    def ceilings(self) -> Ceilings:
        """The ceilings of this machine, measured once a session."""
        logs.say("measuring the ceilings of this machine")
        return measure_ceilings(self.sizes.ceilings)

    @cached_property
    def peers(self) -> Sequence[Peer]:
        """The peers; none where PyTorch is not installed or cannot use the device."""
        found = installed_peers()
        if not found:
            self.note(
                "PyTorch is not installed or cannot use this device, so its columns are empty"
            )
        return found

    def describe(self) -> dict[str, Any]:
        """Return the description of machine, versions, commit and moment."""
        return environment.describe(self.commit, memory_kept=self.memory_kept)

    def note(self, text: str) -> None:
        """Print a remark and keep it for the result."""
        logs.say(f"note: {text}")
        self.notes.append(text)

    def in_time(self, cases: Sequence[Case]) -> Iterator[Case]:
        """Yield the cases until the deadline, and note the others."""
        for case in cases:
            if self.deadline is not None and time.monotonic() > self.deadline:
                self.note(f"left out, the time was over: {case}")
            else:
                yield case

    def compare(self, contestants: dict[str, Contestant], *, pieces: int = 1) -> dict[str, Times]:
        """Time the package and its peers by turns.

        Args:
            contestants: the package under `JAX`, the others under their names; one that fails is
                noted and left out.
            pieces: equal pieces that one call works on.

        Returns:
            Seconds for each piece.
        """
        others = {name: run for name, run in contestants.items() if name != JAX}
        kept = {JAX: contestants[JAX]} | self._working(others)
        times = alternate(kept, self.sizes.patience)
        return {name: seconds.per(pieces) for name, seconds in times.items()}

    def _working(self, contestants: Mapping[str, Contestant]) -> dict[str, Contestant]:
        """Call each contestant once; note those that fail and return the others."""
        kept = {}
        for name, run in contestants.items():
            try:
                run()
                kept[name] = run
            except Exception as error:  # any error of a compiler or a driver
                text = " ".join(str(error).split())[:300]
                self.note(f"{name}: {type(error).__name__}: {text}")
        return kept

    def columns(self, times: dict[str, Times], work: Work, precision: str) -> dict[str, Any]:
        """Return the columns of a comparison: seconds, ratios to the peers, share of the limit.

        Args:
            times: of the package under `JAX`, of the others under their names.
            work: of the package.
            precision: of the work.
        """
        ours = times[JAX].median
        others = [name for name in times if name != JAX] or [NO_PEER]
        limit = self.ceilings.limit(work, precision)
        return {
            f"{JAX} s": times[JAX],
            **{f"{name} s": times.get(name) for name in others},
            **{f"{name} / {JAX}": _ratio(times.get(name), ours) for name in others},
            "GFLOP": work.flops / 1e9,
            "limit s": limit.seconds,
            "bound by": limit.bound,
            "share of limit": limit.seconds / ours,
        }

    def result(self, name: str, measure: "Measure") -> dict[str, Any]:
        """Run one benchmark and print its table.

        Returns:
            The contents of its JSON file: machine, ceilings if they were measured, rows and notes.
        """
        before, clock = len(self.notes), time.monotonic()
        described = self.describe()
        rows = measure(self)
        ceilings = self.__dict__.get("ceilings")
        logs.say(f"\n{name}\n{tables.render(rows)}")
        return {
            "benchmark": name,
            "machine": described,
            "seconds": round(time.monotonic() - clock, 1),
            "ceilings": tables.as_json(ceilings.rows) if ceilings else None,
            "rows": tables.as_json(rows),
            "notes": self.notes[before:],
        }


# The function of each program: from a session to the rows of its table.
Measure = Callable[[Session], Sequence[Row]]


def _ratio(theirs: Times | None, ours: float) -> float | None:
    return theirs.median / ours if theirs else None
