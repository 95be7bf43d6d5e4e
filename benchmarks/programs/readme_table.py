"""Print the README's table of speed: python -m benchmarks.programs.readme_table.

It shows the newest result of each kind of device with freed memory kept. Beside it stands PyTorch
from the newest result of the same device with freed memory given back.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.result_files import RESULTS, Result, newest
from benchmarks.harness.session import JAX, NO_PEER
from benchmarks.measuring import tables
from benchmarks.measuring.environment import GIVEN_BACK, KEPT
from benchmarks.measuring.tables import Row
from cpca_jax.runtime import logs

# The last column; empty until somebody measures on a GPU.
ACCELERATOR = "one GPU"


def rows(kept: Result, given_back: Result | None, accelerator: Result | None) -> Sequence[Row]:
    """Return a row for each training step and each depth of the generator."""
    as_it_comes = _by_name(given_back) if given_back else {}
    on_gpu = _by_name(accelerator) if accelerator else {}
    return [
        _row(name, row, as_it_comes.get(name), on_gpu.get(name))
        for name, row in _by_name(kept).items()
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
    on_gpu: Mapping[str, Any] | None,
) -> Row:
    ours = row[f"{JAX} s"]["median"]

    def median(measured: Mapping[str, Any] | None, column: str) -> float | None:
        return measured[column]["median"] if measured and measured.get(column) else None

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
        ACCELERATOR: median(on_gpu, f"{JAX} s"),
    }


def page(folder: Path) -> str:
    """Return the table as Markdown, with a caption that names machine, commit and versions.

    Args:
        folder: of the result files.

    Raises:
        FileNotFoundError: the folder has no result of a CPU with freed memory kept.
    """
    kept = newest(folder, "cpu", KEPT)
    if kept is None:
        raise FileNotFoundError(
            f"{folder}: no result of a CPU with memory kept; benchmarks.programs.run_all writes one"
        )
    given_back = newest(folder, "cpu", GIVEN_BACK)
    machine = kept["machine"]
    caption = (
        f"{machine['date'][:10]}, commit {machine['commit']}, {machine['cores']} cores of "
        f"{machine['device']}, jax {machine['jax']}, torch {machine['torch']}"
    )
    return f"{tables.render(rows(kept, given_back, newest(folder, 'gpu', KEPT)))}\n\n{caption}."


if __name__ == "__main__":
    logs.say(page(RESULTS))
