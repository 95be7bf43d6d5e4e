"""The README's table of speed: python -m benchmarks.summary.

From the newest result on each kind of device, memory kept, beside PyTorch of the newest result of
the same device with memory given back.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks.run_all import RESULTS
from benchmarks.session import JAX, NO_PEER
from benchmarks.table import Row
from cpca_jax.runtime import logs

# Below the table's first columns; empty until someone measures there.
NO_ACCELERATOR = "one GPU"
KEPT, GIVEN_BACK = "kept", "given back"

Result = Mapping[str, Any]


def newest(folder: Path, backend: str, memory: str) -> Result | None:
    """The latest result of a kind; None where there is none."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    wanted = (backend, memory)
    fitting = [
        r for r in found if (r["machine"]["backend"], r["machine"]["freed memory"]) == wanted
    ]
    return max(fitting, key=lambda result: result["machine"]["date"], default=None)


def rows(kept: Result, given_back: Result | None, accelerator: Result | None) -> Sequence[Row]:
    """One row for each training step and each depth of the generator."""
    others = _by_name(given_back) if given_back else {}
    there = _by_name(accelerator) if accelerator else {}
    return [
        _row(name, row, others.get(name), there.get(name)) for name, row in _by_name(kept).items()
    ]


def _by_name(result: Result) -> dict[str, Mapping[str, Any]]:
    benchmarks = result["benchmarks"]
    named = {
        f"training step, batch {row['batch']}, critic updates: {row['critic updates']}": row
        for row in benchmarks["training_step"]["rows"]
    }
    slices = {f"{r['network']}, a slice of 512x512": r for r in benchmarks["inference"]["rows"]}
    return named | slices


def _row(
    name: str,
    row: Mapping[str, Any],
    given_back: Mapping[str, Any] | None,
    there: Mapping[str, Any] | None,
) -> Row:
    ours = row[f"{JAX} s"]["median"]

    def median(of: Mapping[str, Any] | None, column: str) -> float | None:
        return of[column]["median"] if of and of.get(column) else None

    def ratio(seconds: float | None) -> float | None:
        return seconds / ours if seconds else None

    windows = median(row, f"{NO_PEER} windows s")
    return {
        "on 2 cores": name,
        "s": ours,
        "share of limit": f"{row['share of limit']:.0%}",
        "PyTorch": ratio(median(row, f"{NO_PEER} s")),
        "by windows": ratio(windows),
        "as it comes": ratio(median(given_back, f"{NO_PEER} s")),
        "by windows, as it comes": ratio(median(given_back, f"{NO_PEER} windows s")),
        NO_ACCELERATOR: median(there, f"{JAX} s"),
    }


def page(folder: Path) -> str:
    """The table as Markdown, and what it is of."""
    kept = newest(folder, "cpu", KEPT)
    if kept is None:
        raise FileNotFoundError(f"{folder}: no result of a CPU with memory kept")
    given_back = newest(folder, "cpu", GIVEN_BACK)
    machine = kept["machine"]
    caption = (
        f"{machine['date'][:10]}, commit {machine['commit']}, {machine['cores']} cores of "
        f"{machine['device']}, jax {machine['jax']}, torch {machine['torch']}"
    )
    return f"{table.render(rows(kept, given_back, newest(folder, 'gpu', KEPT)))}\n\n{caption}."


if __name__ == "__main__":
    logs.say(page(RESULTS))
