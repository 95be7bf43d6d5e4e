"""Read from a result of `run_all` the speeds that predictions start from."""

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.result_files import Result
from benchmarks.harness.session import JAX
from benchmarks.predictions.machine_models import MachineModel

TRAINING_STEP, INFERENCE = "training_step", "inference"


def first_row(result: Result, benchmark: str) -> Mapping[str, Any]:
    """Return the most telling row of a benchmark, which is its first."""
    row: Mapping[str, Any] = result["benchmarks"][benchmark]["rows"][0]
    return row


def measured_machine(result: Result, benchmark: str) -> MachineModel:
    """Return the machine of a result, with the speed of its training step or of its CPCA-1.

    The two speeds differ: gradients of small convolutions are slower than the convolutions of a
    slice.
    """
    described, row = result["machine"], first_row(result, benchmark)
    name = f"{described['cores']} cores of {described['device']}"
    return MachineModel(name, 1e9 * row["GFLOP"] / jax_seconds(row))


def jax_seconds(row: Mapping[str, Any]) -> float:
    """Return the package's median in a row."""
    return float(row[f"{JAX} s"]["median"])


def network_seconds(result: Result, slices: int) -> float:
    """Return the seconds of the network for a slice by CPCA-`slices`."""
    rows = result["benchmarks"][INFERENCE]["rows"]
    (row,) = (row for row in rows if row["network"] == f"CPCA-{slices}")
    return jax_seconds(row)


def host_seconds(result: Result, activity: str) -> float:
    """Return the seconds of a thread for a compressed slice, "reading" or "writing"."""
    rows = result["benchmarks"]["denoise_series"]["rows"]
    (row,) = (r for r in rows if r["run"] == "identity" and r["source"] == "JPEG 2000")
    return float(row[f"{activity} s"]["median"] / row["slices"])


def simulation_seconds(result: Result) -> float:
    """Return the seconds for the simulated quarter dose of a slice."""
    rows = result["benchmarks"]["simulation"]["rows"]
    (row,) = (r for r in rows if r["what"] == "quarter dose")
    return float(row["seconds a slice"])
