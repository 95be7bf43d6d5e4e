"""Commands as a user types them, and the form of a refusal."""

import os
import subprocess
import sys

from conftest import CHECKOUT


def call(*arguments, cwd=CHECKOUT, stdout=subprocess.PIPE, **environment):
    # JAX has set this one in the process of the tests; a user's shell has none.
    own = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=own | {"XDG_CACHE_HOME": "/nonexistent-cache", "XLA_FLAGS": ""} | environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def refused(result, *said):
    """Require exit code 2 and one line with the reason, without a traceback."""
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for part in said:
        assert part in lines[0]
