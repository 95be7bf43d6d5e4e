"""NIfTI volumes as scans, which are paired, split and stored like those of DICOM.

The dose is told by the file's name (NAME_full.nii.gz, NAME_low.nii.gz) or by a folder's.
Such files hold no kernel, thickness or patient: every NAME counts as one patient.
"""

import dataclasses
import functools
import hashlib
from pathlib import Path

from cpca_jax.data import folders
from cpca_jax.data.collections import nifti
from cpca_jax.data.collections.finding import find_each, left_out
from cpca_jax.data.listing import Listing
from cpca_jax.data.scan import FoundScans, Frame, ScanFacts, Track
from cpca_jax.errors import VolumeError
from cpca_jax.types import VolumeHU
from cpca_jax.units import whole_hu

_NOTE = "NIfTI files name no patient: each name counts as one, --split_file may say otherwise"


@dataclasses.dataclass(frozen=True, kw_only=True)
class NiftiScan(ScanFacts):
    """The volume of one file."""

    def read(self) -> VolumeHU:
        """Read the volume.

        Returns:
            int16 (z y x) in HU, rounded, from -1024 up.

        Raises:
            VolumeError: the file cannot be read, does not hold HU, or has changed.
        """
        (path,) = self.files
        volume = nifti.read_nifti(path).volume_hu
        if volume.shape != self.shape:
            raise VolumeError(f"{path.name}: changed while being read; start again")
        return whole_hu(volume)


def find_nifti(root: Path, *, listed: Listing, level: str | None, track: Track) -> FoundScans:
    """Read the headers of all NIfTI volumes below a folder, see `scan.Find`.

    Returns:
        A scan for each volume, in the order of their names.

    Raises:
        VolumeError: no scan can be used.
    """
    paths = [path for path in listed.paths if nifti.is_nifti(path)]
    scans_of = functools.partial(_scans, root=root, level=level)
    found = find_each(paths, scans_of, root=root, what="NIfTI volume", track=track)
    aside = left_out(listed, len(paths))
    layouts = {folders.layout(path.relative_to(root.parent).parts) for path in paths}
    return dataclasses.replace(
        found, left_out=aside, notes=(_NOTE,), layouts=tuple(sorted(layouts))
    )


def _scans(path: Path, *, root: Path, level: str | None) -> tuple[NiftiScan]:
    geometry = nifti.read_geometry(path)
    name = path.name[: -len(next(s for s in nifti.SUFFIXES if path.name.lower().endswith(s)))]
    above = path.parent.relative_to(root.parent).parts
    origins = tuple(tuple(float(place) for place in origin) for origin in geometry.origins_mm)
    frame = Frame(geometry.orientation, origins)
    scan = NiftiScan(
        patient=folders.patient_of_volume(name, above),
        shape=geometry.shape,
        spacing_mm=geometry.spacing_mm[1:],
        positions_mm=frame.positions_mm,
        placement="measured",
        frame=frame,
        dose_level=level or folders.dose_level((*above, name)),
        key=hashlib.sha256("/".join((*above[1:], path.name)).encode()).hexdigest()[:16],
        files=(path,),
    )
    return (scan,)
