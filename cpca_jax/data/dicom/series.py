"""A DICOM series: slices of one reconstruction, sorted by geometry.

File names and InstanceNumber never decide the order: they often contradict the geometry, and
ImagePositionPatient defines the third dimension. SliceLocation is not used either: in the
AAPM-Mayo challenge it has the opposite sign.
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
    """The slices of one reconstruction, ascending along their normal, no place twice; a `Scan`.

    Attributes:
        headers: one for each slice; equal in everything but place, identifiers and rescale.
        duplicates: the number of identical copies of slices that were left out.
    """

    headers: tuple[Header, ...]
    duplicates: int = 0

    @property
    def first(self) -> Header:
        """The first header, which stands for all where they agree."""
        return self.headers[0]

    @property
    def patient(self) -> str:
        """The patient, see `Header.patient_key`."""
        return self.first.patient_key

    @property
    def kernel(self) -> str:
        """The convolution kernel, see `Header.kernel`."""
        return self.first.kernel

    @property
    def thickness_mm(self) -> float:
        """The slice thickness; 0 where the files do not say."""
        return self.first.thickness_mm

    @property
    def shape(self) -> tuple[int, int, int]:
        """The numbers of slices, rows and columns."""
        return (len(self.headers), *self.first.shape)

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """The distances of rows and of columns (y, x)."""
        return self.first.spacing_mm

    @property
    def placement(self) -> Placement:
        """The constant "measured": a slice without a position is no part of a series."""
        return "measured"

    @functools.cached_property
    def frame(self) -> Frame:
        """The place of the slices in the patient."""
        origins = tuple(header.origin_mm for header in self.headers)
        return Frame(self.first.orientation, origins)

    @property
    def key(self) -> str:
        """The digest of the series' identifier, see `Header.series_key`."""
        return self.first.series_key

    @property
    def study(self) -> str:
        """The digest of the study's identifier, see `Header.study_key`."""
        return self.first.study_key

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, one for each slice."""
        return tuple(header.path for header in self.headers)

    @property
    def dose_level(self) -> str | None:
        """The dose level: `folders.FULL`, `folders.LOW`, or None where no folder name tells it."""
        return folders.dose_level(self.first.folders)

    @functools.cached_property
    def positions_mm(self) -> tuple[float, ...]:
        """The slices' places along the normal, ascending."""
        return tuple(header.position_mm for header in self.headers)

    @functools.cached_property
    def steps_mm(self) -> tuple[float, ...]:
        """The distances of consecutive slices; one fewer than there are slices."""
        return tuple(float(step) for step in np.diff(self.positions_mm))

    @property
    def tilt_degrees(self) -> float:
        """The angle between the slices' normal and the line of their centres; 0 for one slice."""
        line = np.subtract(self.headers[-1].origin_mm, self.headers[0].origin_mm)
        length = float(np.linalg.norm(line))
        if length < SAME_PLACE_MM:
            return 0.0
        along = (self.positions_mm[-1] - self.positions_mm[0]) / length
        return math.degrees(math.acos(min(1.0, along)))

    @property
    def label(self) -> str:
        """The series in messages: patient key, kernel, thickness."""
        return label_of(self.patient, self.kernel, self.thickness_mm)

    def file_name(self, *, patient: str) -> str:
        """Return a name for files, without blanks: `patient` if any, kernel, thickness."""
        return file_name(patient, self.kernel, self.thickness_mm)

    def sources(self) -> tuple[str, ...]:
        """Return the digests of all SOPInstanceUIDs."""
        return tuple(header.sop_key for header in self.headers)

    def read(self) -> VolumeHU:
        """Read the pixels; the files are read one after another.

        Returns:
            int16 (z y x) in HU, z ascending along the normal.

        Raises:
            DicomError: a slice cannot be read, or no longer agrees with its header.
        """
        volume = np.empty(self.shape, np.int16)
        for z, header in enumerate(self.headers):
            volume[z] = read_again(header).pixels_hu
        return volume


def read_again(header: Header) -> Slice:
    """Read the slice that a header came from again, with its pixels.

    Raises:
        DicomError: the slice cannot be read, or no longer agrees with its header.
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
