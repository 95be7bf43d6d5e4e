"""What all benchmarks share: sizes, peers, ceilings, the time there is, and what a result holds."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar

from benchmarks import limits, machine, peers, table
from benchmarks.counting import Work
from benchmarks.limits import Ceilings
from benchmarks.peers import Peer
from benchmarks.sizes import Sizes
from benchmarks.table import Row
from benchmarks.timing import Contestant, Times, alternate
from cpca_jax.runtime import logs

Case = TypeVar("Case")
# Of the package's own column, and of the peer's where there is none.
JAX, NO_PEER = "JAX", "torch"


@dataclasses.dataclass
class Session:
    """One call of a benchmark, or of all of them.

    Attributes:
        sizes: how large everything is.
        commit: what is measured; None asks git.
        memory_kept: whether freed memory stays with the process, see `cpca_jax.host_memory`.
        deadline: no case begins after it (`time.monotonic`); None is never.
        notes: what a reader must know of the numbers: what failed, what was left out.
    """

    sizes: Sizes
    commit: str | None = None
    memory_kept: bool = False
    deadline: float | None = None
    notes: list[str] = dataclasses.field(default_factory=list)

    @cached_property
    def ceilings(self) -> Ceilings:
        """Of this machine, measured once a session."""
        logs.say("measuring what the machine can do")
        return limits.find(self.sizes)

    @cached_property
    def peers(self) -> Sequence[Peer]:
        """What is compared with; none where PyTorch is not installed, or not for this device."""
        found = peers.load()
        if not found:
            self.note("PyTorch is not installed, or not for this device: its columns are empty")
        return found

    def describe(self) -> dict[str, Any]:
        """Where and with what is measured, now."""
        return machine.describe(self.commit, memory_kept=self.memory_kept)

    def note(self, text: str) -> None:
        """Something that belongs beside the numbers."""
        logs.say(f"note: {text}")
        self.notes.append(text)

    def in_time(self, cases: Sequence[Case]) -> Iterator[Case]:
        """The cases one by one, until the time is over; the others are noted."""
        for case in cases:
            if self.deadline is not None and time.monotonic() > self.deadline:
                self.note(f"left out, the time was over: {case}")
            else:
                yield case

    def compare(self, contestants: dict[str, Contestant], *, pieces: int = 1) -> dict[str, Times]:
        """Seconds for each of so many pieces, by turns, of us and of those who can do it at all."""
        others = {name: run for name, run in contestants.items() if name != JAX}
        kept = {JAX: contestants[JAX]} | peers.usable(others, self.note)
        times = alternate(kept, self.sizes.patience)
        return {name: seconds.per(pieces) for name, seconds in times.items()}

    def columns(self, times: dict[str, Times], work: Work, precision: str) -> dict[str, Any]:
        """What a table says of a comparison: seconds, peers' seconds and ratios, share of limit.

        Args:
            times: of the package under `JAX`, of the others under their names.
            work: of the package.
            precision: in which it was done.
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
        """Run one benchmark.

        Returns:
            What its JSON file holds: machine, ceilings if it used them, rows and notes.
        """
        before, clock = len(self.notes), time.monotonic()
        described = self.describe()
        rows = measure(self)
        found = self.__dict__.get("ceilings")
        logs.say(f"\n{name}\n{table.render(rows)}")
        return {
            "benchmark": name,
            "machine": described,
            "seconds": round(time.monotonic() - clock, 1),
            "ceilings": table.as_json(found.rows) if found else None,
            "rows": table.as_json(rows),
            "notes": self.notes[before:],
        }


# What a benchmark's file defines: from a session to the rows of its table.
Measure = Callable[[Session], Sequence[Row]]


def _ratio(theirs: Times | None, ours: float) -> float | None:
    return theirs.median / ours if theirs else None
