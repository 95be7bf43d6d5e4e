"""Print the tables of docs/scaling.md: python -m benchmarks.programs.scaling_tables RESULT."""

import argparse
import json
from pathlib import Path

from benchmarks.predictions import large_scale
from cpca_jax.runtime import logs


def main() -> None:
    """Read one result and print the predictions that follow from it."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.programs.scaling_tables")
    made.add_argument("result", type=Path, help="a JSON file of run_all")
    logs.say(large_scale.page(json.loads(made.parse_args().result.read_text())))


if __name__ == "__main__":
    main()
