"""The skeleton of every benchmark's command line: python -m benchmarks.NAME [--json FILE]."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import jax

from benchmarks import sizes
from benchmarks.session import Measure, Session
from cpca_jax.programs import launch
from cpca_jax.runtime import files, logs, memory


def run(name: str, measure: Measure) -> None:
    """Measure, print the table, and write the JSON file where one is asked for."""
    options = parser(name).parse_args()
    session = start(options)
    result = session.result(name, measure)
    if options.json:
        write(options.json, {"size": options.size, **result})
        logs.say(f"written: {options.json}")


def parser(name: str) -> argparse.ArgumentParser:
    """The options that every script has."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    made.add_argument("--json", type=Path, help="file for the numbers")
    made.add_argument(
        "--size",
        choices=("usual", "tiny"),
        default="usual",
        help="tiny shows in seconds that it works, its numbers mean nothing",
    )
    made.add_argument(
        "--memory",
        choices=("kept", "given back"),
        default="kept",
        help="what becomes of freed memory, for all contestants: kept as by our programs, or "
        "given back to the system as by Python alone",
    )
    made.add_argument("--commit", help="what is measured, for a copy that is not under git")
    return made


def start(options: argparse.Namespace) -> Session:
    """A session on the device that JAX finds."""
    kept = options.memory == "kept" and memory.keep_freed(os.environ)
    launch.refuse_broken_jax(jax.__version__)
    return Session(sizes.chosen(options.size, jax.default_backend()), options.commit, kept)


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON; NaN and infinity are no JSON and refused."""
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    files.write_file(path, text.encode(), shared=True)
