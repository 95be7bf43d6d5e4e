"""A DICOM series: slices of one reconstruction, sorted by geometry.

File names and InstanceNumber are never used for order: they contradict the geometry often
enough, and ImagePositionPatient is what a third dimension means. The series is also where
SliceLocation is left alone: in the AAPM-Mayo challenge it has the opposite sign.
"""

import dataclasses
import functools
import math
from pathlib import Path

import numpy as np

from cpca_jax.data import folders
from cpca_jax.data.dicom import slice_file
from cpca_jax.data.dicom.header import Header
from cpca_jax.data.dicom.slice_file import Slice
from cpca_jax.data.scan import SAME_PLACE_MM, Frame, Placement, file_name, label_of
from cpca_jax.errors import DicomError
from cpca_jax.types import VolumeHU


@dataclasses.dataclass(frozen=True)
class Series:
    """Slices of one reconstruction, ascending along their normal, no place twice; a `Scan`.

    Attributes:
        headers: one per slice; equal in everything but place, identifiers and rescale.
        duplicates: how many identical copies of slices were left out.
    """

    headers: tuple[Header, ...]
    duplicates: int = 0

    @property
    def first(self) -> Header:
        """Speaks for all where they agree."""
        return self.headers[0]

    @property
    def patient(self) -> str:
        """See `Header.patient_key`."""
        return self.first.patient_key

    @property
    def kernel(self) -> str:
        """See `Header.kernel`."""
        return self.first.kernel

    @property
    def thickness_mm(self) -> float:
        """Slice thickness; 0 where the files do not say."""
        return self.first.thickness_mm

    @property
    def shape(self) -> tuple[int, int, int]:
        """The numbers of slices, rows and columns."""
        return (len(self.headers), *self.first.shape)

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Distance of rows and of columns (y, x)."""
        return self.first.spacing_mm

    @property
    def placement(self) -> Placement:
        """Always "measured": a slice without a position is no part of a series."""
        return "measured"

    @functools.cached_property
    def frame(self) -> Frame:
        """Where the slices lie in the patient."""
        origins = tuple(header.origin_mm for header in self.headers)
        return Frame(self.first.orientation, origins)

    @property
    def key(self) -> str:
        """See `Header.series_key`."""
        return self.first.series_key

    @property
    def study(self) -> str:
        """See `Header.study_key`."""
        return self.first.study_key

    @property
    def files(self) -> tuple[Path, ...]:
        """One for each slice."""
        return tuple(header.path for header in self.headers)

    @property
    def dose_level(self) -> str | None:
        """`folders.FULL`, `folders.LOW`, or None where no folder name tells."""
        return folders.dose_level(self.first.folders)

    @functools.cached_property
    def positions_mm(self) -> tuple[float, ...]:
        """Places along the normal, ascending."""
        return tuple(header.position_mm for header in self.headers)

    @functools.cached_property
    def steps_mm(self) -> tuple[float, ...]:
        """Distances of consecutive slices; one less than there are slices."""
        return tuple(float(step) for step in np.diff(self.positions_mm))

    @property
    def tilt_degrees(self) -> float:
        """Angle between the slices' normal and the line of their centres; 0 for one slice."""
        line = np.subtract(self.headers[-1].origin_mm, self.headers[0].origin_mm)
        length = float(np.linalg.norm(line))
        if length < SAME_PLACE_MM:
            return 0.0
        along = (self.positions_mm[-1] - self.positions_mm[0]) / length
        return math.degrees(math.acos(min(1.0, along)))

    @property
    def label(self) -> str:
        """For messages: patient key, kernel, thickness."""
        return label_of(self.patient, self.kernel, self.thickness_mm)

    def file_name(self, *, patient: str) -> str:
        """A name for files: `patient`, if any, kernel, thickness; no blanks or odd characters."""
        return file_name(patient, self.kernel, self.thickness_mm)

    def sources(self) -> tuple[str, ...]:
        """Return the digests of all SOPInstanceUIDs."""
        return tuple(header.sop_key for header in self.headers)

    def read(self) -> VolumeHU:
        """Read the pixels; the files are read one after another.

        Returns:
            int16 (z y x) in HU, z ascending along the normal.

        Raises:
            DicomError: a slice cannot be read, or is no longer what its header said.
        """
        volume = np.empty(self.shape, np.int16)
        for z, header in enumerate(self.headers):
            volume[z] = read_again(header).pixels_hu
        return volume


def read_again(header: Header) -> Slice:
    """The slice that a header was read from, with its pixels.

    Raises:
        DicomError: it cannot be read, or is no longer what its header said.
    """
    image = slice_file.read_slice(header.path, allowances=header.allowances)
    same = (image.sop_key, image.shape, image.origin_mm) == (
        header.sop_key,
        header.shape,
        header.origin_mm,
    )
    if not same:
        raise DicomError(f"{header.path.name}: changed while being read; start again")
    return image
