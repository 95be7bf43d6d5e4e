"""What large trainings and archives would cost: python -m benchmarks.scaling RESULT.

Prints the tables of docs/scaling.md, where every formula is. Work is counted, the CPU's speed is
taken from a result of run_all, those of accelerators from data sheets.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import table, workload
from benchmarks.machines import GPU, POD, Machine, measured
from benchmarks.table import Row
from benchmarks.workload import Job
from cpca_jax.configs import cpca1, cpca7_transfer
from cpca_jax.runtime import logs

HOUR, YEAR = 3600.0, 365 * 24 * 3600.0
# Assumed, and said so on the page: slices of a series, and of the 299 patients of TCIA's
# LDCT-and-Projection-data those whose scanner gives a quarter dose.
SLICES, PATIENTS, WITH_LOW_DOSE = 300, 299, 150
SERIES_A_YEAR = 1_000_000
PATCH, BATCH = 64, 128


def measured_rows(result: Mapping[str, Any]) -> list[Row]:
    """What the CPU of a result gets done in a second."""
    rows = (result["benchmarks"][name]["rows"][0] for name in ("training_step", "inference"))
    works = ("a training step, batch 16", "a slice, CPCA-1")
    machines = measured(result)
    return [
        {
            "work": work,
            "GFLOP": row["GFLOP"],
            "seconds": row["JAX s"]["median"],
            "GFLOP/s": machine.flops / 1e9,
        }
        for work, row, machine in zip(works, rows, machines, strict=True)
    ]


def training_rows(jobs: Sequence[Job], machines: Sequence[Machine]) -> list[Row]:
    """Every training: steps, work, and hours on each machine."""
    rows: list[Row] = []
    for job in jobs:
        hours = {f"{m.name} h": job_hours(job, m) for m in machines}
        counted = {"GFLOP a step": job.step.flops / 1e9, "GB a step": job.step.bytes / 1e9}
        named = {"training": job.name, "times": job.times, "steps": job.steps}
        rows.append(named | counted | hours)
    return rows


def job_hours(job: Job, machine: Machine) -> float:
    """Hours of a training by itself."""
    return job.steps * machine.seconds(job.step, exchanged=job.exchanged) / HOUR


def total_rows(jobs: Sequence[Job], machines: Sequence[Machine]) -> list[Row]:
    """All trainings: device-hours, and hours until the last is over."""
    rows: list[Row] = []
    for machine in machines:
        hours = {job.name: job_hours(job, machine) for job in jobs}
        # As many at a time as the machine runs; none before the one that it starts from.
        longest = max(_chain(job, hours, jobs) for job in jobs)
        together = sum(job.times * hours[job.name] for job in jobs)
        until = max(longest, together / machine.together)
        device_hours = together * machine.devices
        rows.append({"machine": machine.name, "device-hours": device_hours, "hours": until})
    return rows


def _chain(job: Job, hours: Mapping[str, float], jobs: Sequence[Job]) -> float:
    before = [other for other in jobs if other.name == job.after]
    return hours[job.name] + (_chain(before[0], hours, jobs) if before else 0.0)


def tcia_rows(result: Mapping[str, Any], machines: Sequence[Machine]) -> list[Row]:
    """299 patients, prepared, trained on once through, and denoised by CPCA-7, in hours."""
    slices = PATIENTS * SLICES
    steps = slices * (workload.EDGE // PATCH) ** 2 / BATCH
    jobs = [
        workload.job_of("CPCA-1", cpca1.get_config()),
        workload.job_of("CPCA_TF-7", cpca7_transfer.get_config()),
    ]
    read = 2 * slices * _host(result)["reading"] / HOUR
    simulated = (PATIENTS - WITH_LOW_DOSE) * SLICES * _simulation(result) / HOUR
    rows: list[Row] = []
    for machine in machines:
        passes = {
            f"{job.name}, one pass h": steps
            * machine.seconds(job.step, exchanged=job.exchanged)
            / HOUR
            for job in jobs
        }
        denoised = slices * _slice_seconds(7, machine, result) / HOUR
        given = {"machine": machine.name, "reading, core h": read, "simulating h": simulated}
        rows.append(given | passes | {"denoising by CPCA-7 h": denoised})
    return rows


def archive_rows(result: Mapping[str, Any], machines: Sequence[Machine]) -> list[Row]:
    """10^6 series a year: how many machines, and cores that read and write for them."""
    rate = SERIES_A_YEAR * SLICES / YEAR
    host = _host(result)
    cores = math.ceil(rate * (host["reading"] + host["writing"]))
    rows: list[Row] = []
    for machine in machines:
        for slices in (1, 7):
            seconds = _slice_seconds(slices, machine, result)
            rows.append({
                "network": f"CPCA-{slices}",
                "machine": machine.name,
                "seconds a slice": seconds,
                "busy machines": rate * seconds,
                "cores that read and write": cores,
            })
    return rows


def _slice_seconds(slices: int, machine: Machine, result: Mapping[str, Any]) -> float:
    """Of the network; a CPU's as measured, an accelerator's by what there is to compute."""
    if math.isinf(machine.bandwidth):
        rows = result["benchmarks"]["inference"]["rows"]
        (row,) = (row for row in rows if row["network"] == f"CPCA-{slices}")
        return float(row["JAX s"]["median"])
    # Every device has a slab of its own.
    one = dataclasses.replace(machine, devices=1)
    slab = one.seconds(workload.denoising(slices) * workload.SLAB)
    return slab / workload.SLAB / (machine.devices * machine.together)


def _host(result: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of a thread for reading and writing a compressed slice, as denoise.py measured."""
    rows = result["benchmarks"]["denoise_series"]["rows"]
    (row,) = (r for r in rows if r["run"] == "identity" and r["source"] == "JPEG 2000")
    return {what: row[f"{what} s"]["median"] / row["slices"] for what in ("reading", "writing")}


def _simulation(result: Mapping[str, Any]) -> float:
    """Seconds of the measured machine for a slice's low dose."""
    rows = result["benchmarks"]["simulation"]["rows"]
    (row,) = (r for r in rows if r["what"] == "low dose")
    return float(row["seconds a slice"])


def page(result: Mapping[str, Any]) -> str:
    """All tables as Markdown."""
    cpu, cpu_slices = measured(result)
    machines, jobs = (cpu, GPU, POD), workload.deck_jobs("full")
    parts = {
        "What was measured": measured_rows(result),
        "Trainings of the deck at its full size": training_rows(jobs, machines),
        "All of them": total_rows(jobs, machines),
        "299 patients": tcia_rows(result, machines),
        "10^6 series a year": archive_rows(result, (cpu_slices, GPU, POD)),
    }
    return "\n\n".join(f"### {title}\n\n{table.render(rows)}" for title, rows in parts.items())


if __name__ == "__main__":
    made = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    made.add_argument("result", type=Path, help="a JSON file of run_all")
    logs.say(page(json.loads(made.parse_args().result.read_text())))
