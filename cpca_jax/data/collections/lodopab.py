"""LoDoPaB-CT: ground truth slices in HDF5 (Leuschner et al., Sci Data 8:109, 2021).

    ground_truth_train_000.hdf5   "data": float32 (128, 362, 362) in [0, 1]; the last file fewer
    patient_ids_rand_train.csv    one number a line: whose slice it is, of all files in turn

Stored is the attenuation mu / mu(3071 HU) with mu(HU) = (mu_water - mu_air) HU / 1000 +
mu_water, mu_water = 20 / m and mu_air = 0.02 / m, so that mu(3071 HU) = 81.35858 / m
(create_dataset.py of jleuschn/lodopab_tech_ref). The slices are 26 cm wide and in no order:
they are single, never neighbours. The low dose is sinograms (observation_*.hdf5), which are
not read; it has to be simulated.
"""

import itertools
import os
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cpca_jax.data.dicom.header import Header
from cpca_jax.data.dicom.series import Found, Series, Track
from cpca_jax.data.listing import Listing, list_files
from cpca_jax.errors import VolumeError
from cpca_jax.types import VolumeHU
from cpca_jax.units import whole_hu

MU_WATER, MU_AIR = 20.0, 0.02
MU_MAX = 3071 * (MU_WATER - MU_AIR) / 1000 + MU_WATER
SIDE = 362
_SPACING_MM = 260.0 / SIDE
_PER_FILE = 128
_FILE = re.compile(r"ground_truth_(train|validation|test)_(\d{3})\.hdf5")
# Where the slices lie is not published. So far apart, no slice takes another for a neighbour.
_APART_MM = 1000.0
_NOTE = "LoDoPaB is 2D only: its slices are single, in no order, 362 x 362, 0.718 mm"


def is_lodopab(path: Path) -> bool:
    """Whether a file is called like a ground-truth file of LoDoPaB."""
    return bool(_FILE.fullmatch(path.name))


def find_lodopab(root: Path, *, track: Track, listed: Listing | None = None) -> Found:
    """Sort the ground-truth slices below a folder by patient.

    Args:
        root: a folder, searched with its subfolders.
        track: shows progress.
        listed: the files below it, where they are listed already.

    Returns:
        A series for each patient; where the patients' numbers are missing, one for each file,
        and each of LoDoPaB's parts (train, validation, test) counts as one patient.

    Raises:
        VolumeError: a file is damaged or of another shape, or there is none.
    """
    root = Path(os.path.abspath(root))
    listed = listed or list_files(root)
    paths = [path for path in listed.paths if is_lodopab(path)]
    if not paths:
        raise VolumeError(f"{root.name}: no ground_truth_PART_NNN.hdf5, must hold at least one")
    patients = {path.name: path for path in listed.paths if path.suffix == ".csv"}
    slices: dict[str, list[Header]] = {}
    refused: list[str] = []
    numbers = {part: _patients(part, patients) for part in ("train", "validation", "test")}
    for path in track(paths, "reading headers", len(paths)):
        try:
            for patient, header in _slices(path, numbers):
                slices.setdefault(patient, []).append(header)
        except VolumeError as error:
            refused.append(str(error))
    found = tuple(Series(_placed(slices[patient])) for patient in sorted(slices))
    if not found:
        raise VolumeError(f"{root.name}: no usable LoDoPaB file; first refused: {refused[0]}")
    missing = [part for part in numbers if not numbers[part]]
    notes = [_NOTE]
    if any(f"_{part}_" in path.name for part in missing for path in paths):
        notes.append(
            f"patient_ids_rand_{missing[0]}.csv is missing: each part counts as one patient"
        )
    foreign = len(listed.paths) - len(paths)
    return Found(found, tuple(refused), 0, foreign, listed.projections, tuple(notes))


def read_lodopab(series: Series) -> VolumeHU:
    """Read the slices of a series that `find_lodopab` found.

    Returns:
        int16 (z y x) in HU, rounded.

    Raises:
        VolumeError: a file cannot be read, or holds values outside [0, 1].
    """
    volume = np.empty((len(series.headers), SIDE, SIDE), np.int16)
    z = 0
    for path, headers in itertools.groupby(series.headers, key=lambda header: header.path):
        rows = [_row(header) for header in headers]
        values = _read(path, rows)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise VolumeError(f"{path.name}: values outside 0 to 1, must be LoDoPaB's attenuation")
        volume[z : z + len(rows)] = whole_hu(to_hu(values))
        z += len(rows)
    return volume


def to_hu(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """LoDoPaB's values in [0, 1] to HU: 1000 (v mu_max - mu_water) / (mu_water - mu_air)."""
    attenuation = values.astype(np.float64) * MU_MAX
    hu: Float[np.ndarray, "*shape"] = 1000 * (attenuation - MU_WATER) / (MU_WATER - MU_AIR)
    return hu


def part_of(patient: str) -> str | None:
    """LoDoPaB's own split of a patient of this module, or None for any other."""
    match = re.fullmatch(r"lodopab-(train|validation|test)(-\d+)?", patient)
    return match[1] if match else None


def _patients(part: str, files: dict[str, Path]) -> list[int]:
    path = files.get(f"patient_ids_rand_{part}.csv")
    if path is None:
        return []
    try:
        return [int(line) for line in path.read_text().split()]
    except (OSError, ValueError) as error:
        raise VolumeError(f"{path.name}: must hold one whole number a line") from error


def _slices(path: Path, numbers: dict[str, list[int]]) -> list[tuple[str, Header]]:
    """Whose each slice of a file is, and what is known about it."""
    match = _FILE.fullmatch(path.name)
    assert match
    part, file = match[1], int(match[2])
    count = _count(path)
    indices = range(file * _PER_FILE, file * _PER_FILE + count)
    known = numbers[part]
    if known and indices.stop > len(known):
        raise VolumeError(
            f"{path.name}: holds slice {indices.stop - 1} of the part, patient_ids_rand_{part}.csv "
            f"has {len(known)} lines, must have one for each"
        )
    series = [f"lodopab-{part}-{known[n]:04d}" if known else path.stem for n in indices]
    patients = series if known else [f"lodopab-{part}"] * count
    headers = [_header(path, p, s, n) for p, s, n in zip(patients, series, indices, strict=True)]
    return list(zip(series, headers, strict=True))


def _header(path: Path, patient: str, series: str, index: int) -> Header:
    return Header(
        path=path,
        folders=(),
        patient_key=patient,
        series_key=series,
        sop_key=f"{path.stem[:-4]}-{index:06d}",
        image_type=(),
        kernel="unknown",
        thickness_mm=0.0,
        shape=(SIDE, SIDE),
        spacing_mm=(_SPACING_MM, _SPACING_MM),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        origin_mm=(0.0, 0.0, _APART_MM * index),
        slope=1.0,
        intercept=0.0,
        lossy=False,
    )


def _row(header: Header) -> int:
    """Which row of its file a slice is."""
    return round(header.origin_mm[2] / _APART_MM) % _PER_FILE


def _placed(headers: list[Header]) -> tuple[Header, ...]:
    return tuple(sorted(headers, key=lambda header: header.origin_mm[2]))


def _count(path: Path) -> int:
    import h5py

    try:
        with h5py.File(path) as file:
            shape = file["data"].shape
    except (OSError, KeyError, AttributeError) as error:
        raise VolumeError(f"{path.name}: is no HDF5 file with an array 'data'") from error
    if len(shape) != 3 or shape[1:] != (SIDE, SIDE) or not 1 <= shape[0] <= _PER_FILE:
        raise VolumeError(f"{path.name}: 'data' is {shape}, must be (up to 128, 362, 362)")
    return int(shape[0])


def _read(path: Path, rows: list[int]) -> Float[np.ndarray, "n y x"]:
    import h5py

    try:
        with h5py.File(path) as file:
            values: Float[np.ndarray, "n y x"] = file["data"][rows].astype(np.float32)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise VolumeError(f"{path.name}: cannot be read ({type(error).__name__})") from error
    return values
