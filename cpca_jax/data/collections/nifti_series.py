"""NIfTI volumes as series, so that they are paired, split and stored as those of DICOM are.

The dose is told by the file's name (NAME_full.nii.gz, NAME_low.nii.gz) or by a folder's.
Kernel and thickness are not in such files, nor is the patient: every NAME counts as one.
"""

import hashlib
import os
from pathlib import Path

from cpca_jax.data import folders
from cpca_jax.data.collections import nifti
from cpca_jax.data.dicom.header import Header
from cpca_jax.data.dicom.series import Found, Series, Track
from cpca_jax.data.listing import Listing, list_files
from cpca_jax.errors import VolumeError
from cpca_jax.types import VolumeHU
from cpca_jax.units import whole_hu

_NOTE = "NIfTI files name no patient: each name counts as one, --split_file may say otherwise"


def find_nifti(root: Path, *, track: Track, listed: Listing | None = None) -> Found:
    """Read the headers of all NIfTI volumes below a folder.

    Args:
        root: a folder, searched with its subfolders.
        track: shows progress.
        listed: the files below it, where they are listed already.

    Returns:
        A series for each volume, in the order of their names.

    Raises:
        VolumeError: none can be used.
    """
    root = Path(os.path.abspath(root))
    listed = listed or list_files(root)
    paths = [path for path in listed.paths if nifti.is_nifti(path)]
    found: list[Series] = []
    refused: list[str] = []
    for path in track(paths, "reading headers", len(paths)):
        try:
            found.append(_series(path, root))
        except VolumeError as error:
            refused.append(str(error))
    if not found:
        first = f"; first refused: {refused[0]}" if refused else ""
        raise VolumeError(f"{root.name}: no usable NIfTI volume among {len(paths)}{first}")
    foreign = len(listed.paths) - len(paths)
    return Found(tuple(found), tuple(refused), 0, foreign, listed.projections, (_NOTE,))


def read_nifti_series(series: Series) -> VolumeHU:
    """Read the volume of a series that `find_nifti` found.

    Returns:
        int16 (z y x) in HU, rounded, from -1024 up.

    Raises:
        VolumeError: the file cannot be read, does not hold HU, or has changed.
    """
    path = series.first.path
    volume = nifti.read_nifti(path).volume_hu
    if volume.shape != (len(series.headers), *series.first.shape):
        raise VolumeError(f"{path.name}: changed while being read; start again")
    return whole_hu(volume)


def _series(path: Path, root: Path) -> Series:
    geometry = nifti.read_geometry(path)
    name = path.name[: -len(next(s for s in nifti.SUFFIXES if path.name.lower().endswith(s)))]
    above = path.parent.relative_to(root.parent).parts
    identity = hashlib.sha256("/".join((*above[1:], path.name)).encode()).hexdigest()[:16]
    return Series(
        tuple(
            Header(
                path=path,
                folders=(*above, name),
                patient_key=folders.patient_of_volume(name, above),
                series_key=identity,
                sop_key=f"{identity}-{z}",
                image_type=(),
                kernel="unknown",
                thickness_mm=0.0,
                shape=geometry.shape[1:],
                spacing_mm=geometry.spacing_mm[1:],
                orientation=geometry.orientation,
                origin_mm=tuple(float(place) for place in origin),
                slope=1.0,
                intercept=0.0,
                lossy=False,
            )
            for z, origin in enumerate(geometry.origins_mm)
        )
    )
