"""The command line of every benchmark: python -m benchmarks.programs.NAME [--json FILE]."""

import argparse
import os
from pathlib import Path

import jax

from benchmarks.harness import result_files
from benchmarks.harness.session import Measure, Session
from benchmarks.measuring.environment import GIVEN_BACK, KEPT
from benchmarks.subjects.sizes import TINY_NAME, USUAL_NAME, sizes_for
from cpca_jax.programs import launch
from cpca_jax.runtime import logs, memory


def run(name: str, measure: Measure) -> None:
    """Measure, print the table, and write the JSON file if one is asked for."""
    options = parser(name).parse_args()
    session = start(options)
    result = session.result(name, measure)
    if options.json:
        result_files.write(options.json, {"size": options.size, **result})
        logs.say(f"written: {options.json}")


def parser(name: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every program has."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.programs.{name}")
    made.add_argument("--json", type=Path, help="file for the numbers")
    made.add_argument(
        "--size",
        choices=(USUAL_NAME, TINY_NAME),
        default=USUAL_NAME,
        help="tiny shows in seconds that the program works; its numbers have no meaning",
    )
    made.add_argument(
        "--memory",
        choices=(KEPT, GIVEN_BACK),
        default=KEPT,
        help="freed memory, of all contestants: kept as by this project's programs, or given back "
        "to the system as by Python alone",
    )
    made.add_argument("--commit", help="the measured commit, for a copy that is not under git")
    return made


def start(options: argparse.Namespace) -> Session:
    """Return a session on the device that JAX finds."""
    kept = options.memory == KEPT and memory.keep_freed(os.environ)
    launch.refuse_broken_jax(jax.__version__)
    return Session(sizes_for(options.size, jax.default_backend()), options.commit, kept)
