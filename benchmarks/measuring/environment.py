"""Describe the place of a measurement (device, cores, versions, commit); every result holds it.

The machine's speed is not here: `roofline` measures it, `predictions.machine_models` assumes it.
"""

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import jax

CHECKOUT = Path(__file__).parents[2]
KEPT, GIVEN_BACK = "kept", "given back"
_CPU_INFO = Path("/proc/cpuinfo")


def describe(commit: str | None, *, memory_kept: bool) -> dict[str, Any]:
    """Return device, cores, load, memory, versions, commit and date of this moment.

    Args:
        commit: the commit that is measured; None asks git.
        memory_kept: freed memory stays with the process.
    """
    return {
        "backend": jax.default_backend(),
        "device": device_kind(),
        "devices": jax.device_count(),
        "cores": cores(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "freed memory": KEPT if memory_kept else GIVEN_BACK,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": _version("jaxlib"),
        "torch": _version("torch"),
        "commit": commit or _commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def device_kind() -> str:
    """Return the name of the accelerator, or else of the processor."""
    if jax.default_backend() != "cpu":
        return str(jax.devices()[0].device_kind)
    named = re.search(r"^model name\s*: (.+)$", _read(_CPU_INFO), re.MULTILINE)
    return named[1] if named else platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Return the commit that runs, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+changes", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not under git"
    return done.stdout.strip()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
