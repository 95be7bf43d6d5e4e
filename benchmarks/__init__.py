"""How fast the package is, beside PyTorch and beside what the machine could do.

python -m benchmarks.NAME [--json FILE], see docs/benchmarks.md.
"""

import os

# JAX and PyTorch share one GPU here, so neither may take all of its memory at the start. JAX reads
# this when its backend starts, which is after this line.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
