"""The tables of docs/scaling.md: the cost of the deck's trainings, of 299 patients, of an archive.

The page has every formula. Work is counted, the CPU's speed is measured, and the accelerators'
speeds come from data sheets.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from benchmarks.harness.result_files import Result
from benchmarks.measuring import tables
from benchmarks.measuring.tables import Row
from benchmarks.predictions import jobs, measurements
from benchmarks.predictions.jobs import Job
from benchmarks.predictions.machine_models import GPU, POD, MachineModel
from benchmarks.predictions.measurements import INFERENCE, TRAINING_STEP
from cpca_jax.configs import cpca1, cpca7_transfer

HOUR, YEAR = 3600.0, 365 * 24 * 3600.0
# Assumed, as the page says: the slices of a series, and the patients among the 299 of TCIA's
# LDCT-and-Projection-data whose images of both doses are published.
SLICES, PATIENTS, WITH_LOW_DOSE = 300, 299, 150
SERIES_A_YEAR = 1_000_000
PATCH, BATCH = 64, 128


def measured_rows(result: Result) -> list[Row]:
    """Return the speeds of a result's machine."""
    works = {TRAINING_STEP: "a training step, batch 16", INFERENCE: "a slice, CPCA-1"}
    rows: list[Row] = []
    for benchmark, work in works.items():
        row = measurements.first_row(result, benchmark)
        rows.append({
            "work": work,
            "GFLOP": row["GFLOP"],
            "seconds": measurements.jax_seconds(row),
            "GFLOP/s": measurements.measured_machine(result, benchmark).flops / 1e9,
        })
    return rows


def training_rows(trainings: Sequence[Job], machines: Sequence[MachineModel]) -> list[Row]:
    """Return steps, work and hours on each machine, a row for each training."""
    rows: list[Row] = []
    for job in trainings:
        hours = {f"{machine.name} h": job_hours(job, machine) for machine in machines}
        counted = {"GFLOP a step": job.step.flops / 1e9, "GB a step": job.step.bytes / 1e9}
        named = {"training": job.name, "times": job.times, "steps": job.steps}
        rows.append(named | counted | hours)
    return rows


def job_hours(job: Job, machine: MachineModel) -> float:
    """Return the hours of one training."""
    return job.steps * machine.seconds(job.step, exchanged=job.exchanged) / HOUR


def total_rows(trainings: Sequence[Job], machines: Sequence[MachineModel]) -> list[Row]:
    """Return the device-hours of all trainings, and the hours until the last one ends."""
    rows: list[Row] = []
    for machine in machines:
        hours = {job.name: job_hours(job, machine) for job in trainings}
        # The machine runs several at a time, and none before the one that it starts from.
        longest = max(_chain(job, hours, trainings) for job in trainings)
        together = sum(job.times * hours[job.name] for job in trainings)
        until = max(longest, together / machine.together)
        device_hours = together * machine.devices
        rows.append({"machine": machine.name, "device-hours": device_hours, "hours": until})
    return rows


def _chain(job: Job, hours: Mapping[str, float], trainings: Sequence[Job]) -> float:
    before = [other for other in trainings if other.name == job.after]
    return hours[job.name] + (_chain(before[0], hours, trainings) if before else 0.0)


def tcia_rows(result: Result, machines: Sequence[MachineModel]) -> list[Row]:
    """Return hours for 299 patients: reading, simulation, one pass of training, CPCA-7."""
    slices = PATIENTS * SLICES
    steps = slices * (jobs.EDGE // PATCH) ** 2 / BATCH
    trainings = [
        jobs.job_of("CPCA-1", cpca1.get_config()),
        jobs.job_of("CPCA_TF-7", cpca7_transfer.get_config()),
    ]
    read = 2 * slices * measurements.host_seconds(result, "reading") / HOUR
    without = (PATIENTS - WITH_LOW_DOSE) * SLICES
    simulated = without * measurements.simulation_seconds(result) / HOUR
    rows: list[Row] = []
    for machine in machines:
        passes = {
            f"{job.name}, one pass h": steps
            * machine.seconds(job.step, exchanged=job.exchanged)
            / HOUR
            for job in trainings
        }
        denoised = slices * _slice_seconds(7, machine, result) / HOUR
        given = {"machine": machine.name, "reading, core h": read, "simulating h": simulated}
        rows.append(given | passes | {"denoising by CPCA-7 h": denoised})
    return rows


def archive_rows(result: Result, machines: Sequence[MachineModel]) -> list[Row]:
    """Return the machines for 10^6 series a year, and the cores that read and write for them."""
    rate = SERIES_A_YEAR * SLICES / YEAR
    reading, writing = (measurements.host_seconds(result, a) for a in ("reading", "writing"))
    cores = math.ceil(rate * (reading + writing))
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


def _slice_seconds(slices: int, machine: MachineModel, result: Result) -> float:
    """Return the network's seconds a slice: measured, or predicted from its work."""
    if machine.measured:
        return measurements.network_seconds(result, slices)
    # Every device has a slab of its own.
    one = dataclasses.replace(machine, devices=1)
    slab = one.seconds(jobs.slice_work(slices) * jobs.SLAB)
    return slab / jobs.SLAB / (machine.devices * machine.together)


def page(result: Result) -> str:
    """Return all tables as Markdown."""
    training_cpu = measurements.measured_machine(result, TRAINING_STEP)
    slices_cpu = measurements.measured_machine(result, INFERENCE)
    machines, trainings = (training_cpu, GPU, POD), jobs.deck_jobs("full")
    parts = {
        "What was measured": measured_rows(result),
        "Trainings of the deck at its full size": training_rows(trainings, machines),
        "All of them": total_rows(trainings, machines),
        "299 patients": tcia_rows(result, machines),
        "10^6 series a year": archive_rows(result, (slices_cpu, GPU, POD)),
    }
    return "\n\n".join(f"### {title}\n\n{tables.render(rows)}" for title, rows in parts.items())
