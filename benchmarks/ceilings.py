"""What this machine can do at best: python -m benchmarks.ceilings [--json FILE]."""

from collections.abc import Sequence

from benchmarks import script
from benchmarks.session import Session
from benchmarks.table import Row


def measure(session: Session) -> Sequence[Row]:
    """Convolutions, a matrix product and memory traffic."""
    return session.ceilings.rows


if __name__ == "__main__":
    script.run("ceilings", measure)
