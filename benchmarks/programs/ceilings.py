"""Measure the highest rates of this machine: python -m benchmarks.programs.ceilings."""

from collections.abc import Sequence

from benchmarks.harness import command_line
from benchmarks.harness.session import Session
from benchmarks.measuring.tables import Row


def measure(session: Session) -> Sequence[Row]:
    """Return a row for each convolution, for a matrix product and for memory traffic."""
    return session.ceilings.rows


if __name__ == "__main__":
    command_line.run("ceilings", measure)
