"""Sidecars: NAME.json, with the facts that files of nothing but numbers cannot tell.

    {"patient": "L067", "kernel": "B30f", "thickness_mm": 3, "spacing_mm": [0.7, 0.7],
     "interval_mm": 2, "slope": 4096, "intercept": -1024}

Every key is optional.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpca_jax.data import folders
from cpca_jax.data.scan import plain_kernel
from cpca_jax.errors import VolumeError
from cpca_jax.runtime.circumstances import cause
from cpca_jax.runtime.files import read_small


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sidecar:
    """The contents of a sidecar, with defaults for missing keys.

    Attributes:
        path: the file; None where there is none.
        patient: the patient's key, see `folders.patient_key`; "" where it is not stated.
        kernel: the convolution kernel, or "unknown".
        thickness_mm: the slice thickness; 0 where it is not stated.
        spacing_mm: the distances of rows and of columns (y, x), or None.
        interval_mm: the distance of slices whose numbers differ by one, or None.
        slope: HU per stored unit, or None for the layout's own.
        intercept: HU of a stored 0, or None likewise.
    """

    path: Path | None = None
    patient: str = ""
    kernel: str = "unknown"
    thickness_mm: float = 0.0
    spacing_mm: tuple[float, float] | None = None
    interval_mm: float | None = None
    slope: float | None = None
    intercept: float | None = None


_KEYS = [field.name for field in dataclasses.fields(Sidecar) if field.name != "path"]


def read_sidecar(folder: Path, names: Sequence[str]) -> Sidecar:
    """Read the sidecar of a scan.

    Args:
        folder: the folder of the scan's files.
        names: names without ".json"; the first one that exists is read.

    Raises:
        VolumeError: the file is not such an object, or holds another key or an impossible value.
    """
    path = next((p for name in names if (p := folder / f"{name}.json").is_file()), None)
    if path is None:
        return Sidecar()
    said = _load(path)
    numbers = {
        key: _number(path, key, said[key])
        for key in ("thickness_mm", "interval_mm", "slope", "intercept")
        if key in said
    }
    for key in ("interval_mm", "slope"):
        if numbers.get(key, 1) <= 0:
            raise VolumeError(f"{path.name}: {key} is {numbers[key]:g}, must be above 0")
    if numbers.get("thickness_mm", 0) < 0:
        raise VolumeError(
            f"{path.name}: thickness_mm is {numbers['thickness_mm']:g}, must be 0 or more"
        )
    patient = _text(path, "patient", said)
    return Sidecar(
        path=path,
        patient=folders.patient_key(patient, ()) if patient else "",
        kernel=plain_kernel(_text(path, "kernel", said)),
        thickness_mm=numbers.get("thickness_mm", 0.0),
        spacing_mm=_spacing(path, said["spacing_mm"]) if "spacing_mm" in said else None,
        interval_mm=numbers.get("interval_mm"),
        slope=numbers.get("slope"),
        intercept=numbers.get("intercept"),
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(read_small(path, error=VolumeError))
    except (OSError, ValueError, RecursionError) as error:
        raise VolumeError(f"{path.name}: is no JSON ({cause(error)})") from None
    if not isinstance(said, dict) or not set(said) <= set(_KEYS):
        raise VolumeError(f"{path.name}: must be an object with keys among {', '.join(_KEYS)}")
    return said


def _text(path: Path, key: str, said: dict[str, Any]) -> str:
    value = said.get(key, "")
    if not isinstance(value, str):
        raise VolumeError(f"{path.name}: {key} must be text")
    return value


def _number(path: Path, key: str, value: Any) -> float:
    if type(value) not in {int, float} or not abs(value) <= sys.float_info.max:
        raise VolumeError(f"{path.name}: {key} must be a finite number")
    return float(value)


def _spacing(path: Path, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise VolumeError(f"{path.name}: spacing_mm must be 2 positive numbers (y, x)")
    y, x = (_number(path, "spacing_mm", length) for length in value)
    if min(y, x) <= 0:
        raise VolumeError(f"{path.name}: spacing_mm is {y:g}, {x:g}, must be 2 positive numbers")
    return y, x
