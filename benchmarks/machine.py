"""Where and with what a measurement was made; stands in every result."""

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import jax

_HERE = Path(__file__).parent
_CPU_INFO = Path("/proc/cpuinfo")


def describe(commit: str | None, *, memory_kept: bool) -> dict[str, Any]:
    """Device, cores, load, memory, versions, commit (None asks git) and date, now."""
    return {
        "backend": jax.default_backend(),
        "device": device_kind(),
        "devices": jax.device_count(),
        "cores": cores(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "freed memory": "kept" if memory_kept else "given back",
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": _version("jaxlib"),
        "torch": _version("torch"),
        "commit": commit or _commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def device_kind() -> str:
    """The accelerator's name, or the processor's."""
    if jax.default_backend() != "cpu":
        return str(jax.devices()[0].device_kind)
    named = re.search(r"^model name\s*: (.+)$", _read(_CPU_INFO), re.MULTILINE)
    return named[1] if named else platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def file_name(described: dict[str, Any]) -> str:
    """Device and day as a file name: "nvidia-h100-80gb-hbm3-2026-01-31"."""
    device = re.sub(r"[^a-z0-9]+", "-", described["device"].lower()).strip("-")
    end = "" if described["freed memory"] == "kept" else "-memory-given-back"
    return f"{device}-{described['date'][:10]}{end}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """The commit that ran, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+changes", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=_HERE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not under git"
    return done.stdout.strip()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
