"""Measure the speed of the package beside PyTorch and beside the limits of the machine.

Run `python -m benchmarks.programs.NAME [--json FILE]`, see docs/benchmarks.md. A module imports
from its own package and from those above it in this list:

    measuring     clocks, counted work, peak rates, tables: nothing of CPCA
    subjects      the networks, batches and series that are measured
    peers         other implementations of the same work: PyTorch behind one interface
    harness       one session: options, turns, notes, result files
    predictions   the cost of trainings and archives that nobody has run
    programs      the commands
"""

import os

# JAX and PyTorch share one GPU here, so neither may take all of its memory at the start. JAX reads
# this when its backend starts, which is after this line.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
