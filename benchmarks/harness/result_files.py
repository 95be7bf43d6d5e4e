"""Write results as JSON files, and find the newest ones."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measuring.environment import CHECKOUT, KEPT
from cpca_jax.runtime import files

RESULTS = CHECKOUT / "benchmarks" / "results"

Result = Mapping[str, Any]


def write(path: Path, result: Result) -> None:
    """Write a result as JSON, which refuses NaN and infinity."""
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    files.write_file(path, text.encode(), shared=True)


def file_stem(described: Mapping[str, Any]) -> str:
    """Return the device and the day as a file name: "nvidia-h100-80gb-hbm3-2026-01-31"."""
    device = re.sub(r"[^a-z0-9]+", "-", described["device"].lower()).strip("-")
    end = "" if described["freed memory"] == KEPT else "-memory-given-back"
    return f"{device}-{described['date'][:10]}{end}"


def newest(folder: Path, backend: str, memory: str) -> Result | None:
    """Return the latest result of a backend with freed memory kept or given back, or None."""
    results = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    fitting = [
        result
        for result in results
        if result["machine"]["backend"] == backend and result["machine"]["freed memory"] == memory
    ]
    return max(fitting, key=lambda result: result["machine"]["date"], default=None)
