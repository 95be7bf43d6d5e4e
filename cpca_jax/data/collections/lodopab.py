"""LoDoPaB-CT: ground truth slices in HDF5 (Leuschner et al., Sci Data 8:109, 2021).

    ground_truth_train_000.hdf5   "data": float32 (128, 362, 362) in [0, 1]; fewer in the last file
    patient_ids_rand_train.csv    one line for each slice of all files in turn: the patient's number

The stored value is the attenuation mu / mu(3071 HU) with mu(HU) = (mu_water - mu_air) HU / 1000 +
mu_water, mu_water = 20 / m and mu_air = 0.02 / m, so that mu(3071 HU) = 81.35858 / m
(create_dataset.py of jleuschn/lodopab_tech_ref). The slices are 26 cm wide and in no order:
they are single, never neighbours. The low dose consists of sinograms (observation_*.hdf5), which
are not read; it has to be simulated.
"""

import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cpca_jax.data.collections.finding import left_out
from cpca_jax.data.listing import Listing
from cpca_jax.data.scan import FoundScans, ScanFacts, Track
from cpca_jax.errors import VolumeError
from cpca_jax.runtime import hdf5_files
from cpca_jax.runtime.circumstances import cause
from cpca_jax.runtime.files import read_small
from cpca_jax.types import VolumeHU
from cpca_jax.units import whole_hu

MU_WATER, MU_AIR = 20.0, 0.02
MU_MAX = 3071 * (MU_WATER - MU_AIR) / 1000 + MU_WATER
SIDE = 362
_SPACING_MM = 260.0 / SIDE
_PER_FILE = 128
_FILE = re.compile(r"ground_truth_(train|validation|test)_(\d{3})\.hdf5")
_NOTE = "LoDoPaB is 2D only: its slices are single, in no order, 362 x 362, 0.718 mm"


class LodopabSlice(NamedTuple):
    """A slice of the collection: its number in its part, its file, and its row there."""

    number: int
    path: Path
    row: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class LodopabScan(ScanFacts):
    """The slices of one patient, by their numbers.

    Attributes:
        slices: the slices, ascending.
    """

    slices: tuple[LodopabSlice, ...]

    def sources(self) -> tuple[str, ...]:
        """Return the part and number of each slice, which identify it in the collection."""
        return tuple(f"{one.path.stem[:-4]}-{one.number:06d}" for one in self.slices)

    def read(self) -> VolumeHU:
        """Read the slices.

        Returns:
            int16 (z y x) in HU, rounded.

        Raises:
            VolumeError: a file cannot be read, or holds values outside [0, 1].
        """
        volume = np.empty(self.shape, np.int16)
        z = 0
        for path, slices in itertools.groupby(self.slices, key=lambda one: one.path):
            rows = [one.row for one in slices]
            values = _read(path, rows)
            if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
                raise VolumeError(
                    f"{path.name}: values outside 0 to 1, must be LoDoPaB's attenuation"
                )
            volume[z : z + len(rows)] = whole_hu(to_hu(values))
            z += len(rows)
        return volume


def is_lodopab(path: Path) -> bool:
    """Tell whether a file has the name of a ground-truth file of LoDoPaB."""
    return bool(_FILE.fullmatch(path.name))


def find_lodopab(root: Path, *, listed: Listing, level: str | None, track: Track) -> FoundScans:
    """Sort the ground-truth slices below a folder by patient, see `scan.Find`.

    Returns:
        A scan for each patient; where the patients' numbers are missing, one for each file,
        and each of LoDoPaB's parts (train, validation, test) counts as one patient.

    Raises:
        VolumeError: there is no usable file, or a table of patients is damaged.
    """
    paths = [path for path in listed.paths if is_lodopab(path)]
    if not paths:
        raise VolumeError(f"{root.name}: no ground_truth_PART_NNN.hdf5, must hold at least one")
    patients = {path.name: path for path in listed.paths if path.suffix == ".csv"}
    numbers = {part: _patients(part, patients) for part in ("train", "validation", "test")}
    slices: dict[tuple[str, str], list[LodopabSlice]] = {}
    refused: list[str] = []
    for path in track(paths, "reading headers", len(paths)):
        try:
            for owner, one in _slices(path, numbers):
                slices.setdefault(owner, []).append(one)
        except VolumeError as error:
            refused.append(str(error))
    if not slices:
        raise VolumeError(f"{root.name}: no usable LoDoPaB file; first refused: {refused[0]}")
    found = tuple(_scan(*owner, sorted(slices[owner]), level) for owner in sorted(slices))
    notes = [_NOTE]
    missing = [part for part in numbers if not numbers[part]]
    if any(f"_{part}_" in path.name for part in missing for path in paths):
        notes.append(
            f"patient_ids_rand_{missing[0]}.csv is missing: each part counts as one patient"
        )
    aside = left_out(listed, len(paths))
    return FoundScans(found, tuple(refused), aside, tuple(notes), ("LoDoPaB",))


def to_hu(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Convert values v in [0, 1] to HU: 1000 (v mu_max - mu_water) / (mu_water - mu_air)."""
    attenuation = values.astype(np.float64) * MU_MAX
    hu: Float[np.ndarray, "*shape"] = 1000 * (attenuation - MU_WATER) / (MU_WATER - MU_AIR)
    return hu


def part_of(patient: str) -> str | None:
    """Return LoDoPaB's own split of a patient of this module, or None for any other patient."""
    match = re.fullmatch(r"lodopab-(train|validation|test)(-\d+)?", patient)
    return match[1] if match else None


def _patients(part: str, files: dict[str, Path]) -> list[int]:
    path = files.get(f"patient_ids_rand_{part}.csv")
    if path is None:
        return []
    try:
        return [int(line) for line in read_small(path, error=VolumeError).split()]
    except (OSError, ValueError) as error:
        said = cause(error, damaged="must hold one whole number a line")
        raise VolumeError(f"{path.name}: {said}") from error


def _slices(
    path: Path, numbers: dict[str, list[int]]
) -> list[tuple[tuple[str, str], LodopabSlice]]:
    """Return the slices of a file, each with its key and its patient."""
    match = _FILE.fullmatch(path.name)
    assert match
    part, first = match[1], int(match[2]) * _PER_FILE
    indices = range(first, first + _count(path))
    known = numbers[part]
    if known and indices.stop > len(known):
        raise VolumeError(
            f"{path.name}: holds slice {indices.stop - 1} of the part, patient_ids_rand_{part}.csv "
            f"has {len(known)} lines, must have one for each"
        )
    owners = [f"lodopab-{part}-{known[n]:04d}" for n in indices] if known else []
    return [
        (
            (owners[n - first], owners[n - first]) if known else (path.stem, f"lodopab-{part}"),
            LodopabSlice(n, path, n - first),
        )
        for n in indices
    ]


def _scan(key: str, patient: str, slices: Sequence[LodopabSlice], level: str | None) -> LodopabScan:
    return LodopabScan(
        patient=patient,
        shape=(len(slices), SIDE, SIDE),
        spacing_mm=(_SPACING_MM, _SPACING_MM),
        positions_mm=tuple(float(one.number) for one in slices),
        placement="single",
        dose_level=level,
        key=key,
        files=tuple(dict.fromkeys(one.path for one in slices)),
        slices=tuple(slices),
    )


def _count(path: Path) -> int:
    try:
        with hdf5_files.opened(path) as file:
            fault = hdf5_files.fault(file, "data")
            if fault:
                raise VolumeError(f"{path.name}: 'data' {fault}")
            shape = file["data"].shape
    except (OSError, KeyError, AttributeError) as error:
        said = cause(error, damaged="is no HDF5 file with an array 'data'")
        raise VolumeError(f"{path.name}: {said}") from error
    if len(shape) != 3 or shape[1:] != (SIDE, SIDE) or not 1 <= shape[0] <= _PER_FILE:
        raise VolumeError(f"{path.name}: 'data' is {shape}, must be (up to 128, 362, 362)")
    return int(shape[0])


def _read(path: Path, rows: list[int]) -> Float[np.ndarray, "n y x"]:
    try:
        with hdf5_files.opened(path) as file:
            values: Float[np.ndarray, "n y x"] = file["data"][rows].astype(np.float32)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise VolumeError(f"{path.name}: cannot be read ({cause(error)})") from error
    return values
