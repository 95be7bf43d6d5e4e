"""The manifest of a store: its contents in JSON, checked on reading and on writing.

A JSON object {"format": "cpca_jax store", "version": 3, "series": [...], "sha256": ...}; each
series holds the fields of `SeriesInfo` and, under "low" and "full", the array's file, its SHA-256
and the digests of the slices that it was made from ("sources"). "sha256" is the digest of
everything else in the object, so that no digit of it changes unseen; manifests from before
version 3 have none. The manifest holds no attribute of a patient.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cpca_jax.data.collections.pairs import SPLITS
from cpca_jax.data.scan import PLACEMENTS, Placement
from cpca_jax.errors import StoreError
from cpca_jax.runtime.circumstances import disk_errors
from cpca_jax.runtime.files import read_small

FORMAT = "cpca_jax store"
VERSION = 3
# A slice takes some hundred bytes: 256 MiB.
_MOST_BYTES = 1 << 28
# The versions without a digest of their own content.
_WITHOUT_DIGEST = (1, 2)
# The key of the low dose in version 1.
_LOW_IN_VERSION_1 = "quarter"
_DIGEST = "sha256"
NAME = "manifest.json"


@dataclasses.dataclass(frozen=True)
class SeriesInfo:
    """The facts about a paired series besides its pixels.

    Attributes:
        name: a name that is unique in the store; letters, digits, ".", "_", "-".
        patient: the patient's key, see `folders.patient_key`.
        split: "train", "validation" or "test"; the same for all series of a patient.
        kernel: the convolution kernel.
        thickness_mm: the slice thickness; 0 if unknown.
        spacing_mm: the distances of rows and of columns (y, x); None if unknown.
        positions_mm: the place of each slice along the normal, ascending; where `placement` is
            not "measured", the numbers of the slices, without a unit.
        simulated: whether the low dose was made from the full dose.
        dose: the share of the full dose that the low dose stands for.
        lesions: the lesions of a phantom, each with z, y, x (array indices), radius_mm and
            contrast_hu.
        placement: the meaning of `positions_mm`, see `scan.Placement`.
    """

    name: str
    patient: str
    split: str
    kernel: str
    thickness_mm: float
    spacing_mm: tuple[float, float] | None
    positions_mm: tuple[float, ...]
    simulated: bool = False
    dose: float = 0.25
    lesions: tuple[dict[str, float], ...] = ()
    placement: Placement = "measured"

    def check(self) -> None:
        """Refuse fields that cannot be right.

        Raises:
            StoreError: the name is no plain file name, the split is unknown, positions do not
                ascend, or spacing or dose is not positive.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise StoreError("a series' name must be letters, digits, '.', '_' and '-'")
        if self.split not in SPLITS:
            raise StoreError(f"{self.name}: split {self.split!r} must be in {', '.join(SPLITS)}")
        if not (np.isfinite(self.positions_mm).all() and (np.diff(self.positions_mm) > 0).all()):
            raise StoreError(f"{self.name}: positions_mm must be finite and ascend")
        spacing = min(self.spacing_mm) if self.spacing_mm else 1.0
        if not (spacing > 0 and 0 < self.dose <= 1 and self.thickness_mm >= 0):
            raise StoreError(
                f"{self.name}: spacing_mm and dose must be positive, thickness_mm not negative"
            )


@dataclasses.dataclass(frozen=True)
class ArrayFile:
    """One dose level of a series.

    Attributes:
        file: the base name of the .npy file.
        sha256: the digest of that file.
        sources: the digests of the slices' identifiers, in the order of z; may be empty.
    """

    file: str
    sha256: str
    sources: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Entry:
    """A series in the manifest: the facts about it, and its two arrays."""

    info: SeriesInfo
    low: ArrayFile
    full: ArrayFile


def read(root: Path) -> tuple[Entry, ...]:
    """Read and check the manifest of the store at `root`.

    Raises:
        StoreError: the manifest is missing, not JSON, of another version, or has fields that cannot
            be right.
    """
    entries: list[Entry] = []
    for number, row in enumerate(_rows(root)):
        try:
            entry = entry_of(row)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            problem = f"series {number} is not valid ({type(error).__name__}: {error})"
            raise _damaged(root, problem) from error
        entry.info.check()
        for array in (entry.low, entry.full):
            if Path(array.file).name != array.file:
                raise _damaged(root, f"{entry.info.name}: file is no plain file name")
        entries.append(entry)
    check_together(entry.info for entry in entries)
    return tuple(entries)


def as_json(entries: Sequence[Entry]) -> str:
    """Return the manifest of these series.

    Raises:
        StoreError: see `check_together`.
    """
    check_together(entry.info for entry in entries)
    rows = [row_of(entry) for entry in entries]
    manifest = signed({"format": FORMAT, "version": VERSION, "series": rows})
    return json.dumps(manifest, indent=1, allow_nan=False) + "\n"


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object together with the digest of all its other entries."""
    rest = {key: value for key, value in content.items() if key != _DIGEST}
    return {**rest, _DIGEST: _digest(rest)}


def is_signed(content: Mapping[str, Any]) -> bool:
    """Tell whether a JSON object holds the digest of its other entries."""
    rest = {key: value for key, value in content.items() if key != _DIGEST}
    return bool(content.get(_DIGEST) == _digest(rest))


def row_of(entry: Entry) -> dict[str, Any]:
    """Return a series as it stands in the manifest."""
    arrays = {"low": entry.low, "full": entry.full}
    row = dataclasses.asdict(entry.info)
    return row | {dose: dataclasses.asdict(array) for dose, array in arrays.items()}


def entry_of(row: dict[str, Any]) -> Entry:
    """Invert `row_of`; a row of another kind raises any of Python's own errors."""
    return Entry(_info(row), _array_file(row["low"]), _array_file(row["full"]))


def check_together(series: Iterable[SeriesInfo]) -> None:
    """Refuse two series of one name, and a patient in two splits.

    Raises:
        StoreError: there are such; the message names the series or the patient.
    """
    names: set[str] = set()
    splits: dict[str, str] = {}
    for info in series:
        if info.name in names:
            raise StoreError(f"{info.name}: two series of this name, must be one")
        names.add(info.name)
        if splits.setdefault(info.patient, info.split) != info.split:
            raise StoreError(
                f"patient {info.patient} is in splits {splits[info.patient]} and {info.split}, "
                "must be in one"
            )


def _rows(root: Path) -> list[Any]:
    path = root / NAME
    with disk_errors(f"{root.name}/{NAME}", error=StoreError, verb="read"):
        if not path.is_file():
            raise StoreError(f"{root.name}: is not a store (no {NAME}); make one with prepare.py")
        content = read_small(path, error=StoreError, most=_MOST_BYTES)
    try:
        manifest = json.loads(content)
        found = manifest.get("format"), manifest.get("version")
        entries = manifest.get("series")
    except (ValueError, AttributeError, RecursionError) as error:
        raise _damaged(root, f"cannot be read ({type(error).__name__})") from error
    if found not in [(FORMAT, VERSION), *((FORMAT, version) for version in _WITHOUT_DIGEST)]:
        wanted = (FORMAT, VERSION)
        raise _damaged(root, f"format and version are {found}, must be {wanted}")
    if (found[1] not in _WITHOUT_DIGEST or _DIGEST in manifest) and not is_signed(manifest):
        raise _damaged(root, "is not as it was written, its SHA-256 does not fit")
    if not isinstance(entries, list) or not entries:
        raise _damaged(root, "lists no series")
    return [_of_version_1(row) for row in entries] if found == (FORMAT, 1) else entries


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _of_version_1(row: Any) -> Any:
    """Return a row of a version 1 manifest as version 2 has it."""
    if not isinstance(row, dict) or _LOW_IN_VERSION_1 not in row:
        return row
    return {"low": row[_LOW_IN_VERSION_1], **row}


def _array_file(row: dict[str, Any]) -> ArrayFile:
    sources = tuple(str(source) for source in row["sources"])
    return ArrayFile(str(row["file"]), str(row["sha256"]), sources)


def _info(entry: dict[str, Any]) -> SeriesInfo:
    spacing = entry["spacing_mm"]
    y, x = spacing or (0.0, 0.0)
    # Stores from before the key existed have places in mm only.
    placement = entry.get("placement", "measured")
    if placement not in PLACEMENTS:
        raise ValueError(f"placement {placement!r} is not one of {', '.join(PLACEMENTS)}")
    return SeriesInfo(
        name=str(entry["name"]),
        patient=str(entry["patient"]),
        split=str(entry["split"]),
        kernel=str(entry["kernel"]),
        thickness_mm=float(entry["thickness_mm"]),
        spacing_mm=None if spacing is None else (float(y), float(x)),
        positions_mm=tuple(float(position) for position in entry["positions_mm"]),
        simulated=bool(entry["simulated"]),
        dose=float(entry["dose"]),
        lesions=tuple({key: float(v) for key, v in row.items()} for row in entry["lesions"]),
        placement=placement,
    )


def _damaged(root: Path, problem: str) -> StoreError:
    return StoreError(f"{root.name}/{NAME}: {problem}; prepare the store again")
