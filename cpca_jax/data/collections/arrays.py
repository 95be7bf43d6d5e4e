"""Scans in files that hold nothing but numbers: NumPy arrays, PNG, HDF5.

The file's name or its folders tell patient and dose, and a sidecar may tell the rest. Everything
else stays unknown: no pixel size and no distance of slices is made up.
"""

import abc
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Num

from cpca_jax.data import folders
from cpca_jax.data.collections.hounsfield import require_hu
from cpca_jax.data.collections.sidecar import Sidecar
from cpca_jax.data.scan import Frame, Placement, label_of
from cpca_jax.errors import VolumeError
from cpca_jax.runtime.circumstances import cause
from cpca_jax.runtime.files import file_digest
from cpca_jax.types import VolumeHU
from cpca_jax.units import whole_hu


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayScan(abc.ABC):
    """A scan of numbers; a `Scan` but for the layout's own `values`.

    Attributes:
        name: the name of the scan, without dose and slice; it tells the patient.
        above: the names of the folders that it lies in, the collection's own first.
        arrays: the files of the pixels.
        shape: (z, y, x).
        numbers: the numbers of the slices, ascending.
        in_order: whether slices with consecutive numbers are neighbours.
        dose_level: `folders.FULL`, `folders.LOW`, or None where nothing tells it.
        beside: the contents of the sidecar.
        slope: HU per stored unit where the sidecar does not say.
        intercept: HU of a stored 0, likewise.
    """

    name: str
    above: tuple[str, ...]
    arrays: tuple[Path, ...]
    shape: tuple[int, int, int]
    numbers: tuple[int, ...]
    in_order: bool
    dose_level: str | None
    beside: Sidecar
    slope: float = 1.0
    intercept: float = 0.0

    @abc.abstractmethod
    def values(self) -> Num[np.ndarray, "z y x"]:
        """Return the stored values.

        Raises:
            VolumeError: a file cannot be read.
        """

    @property
    def patient(self) -> str:
        """The patient of the sidecar, or else of the name and the folders."""
        return self.beside.patient or folders.patient_of_volume(self.name, self.above)

    @property
    def kernel(self) -> str:
        """The kernel of the sidecar, or "unknown"."""
        return self.beside.kernel

    @property
    def thickness_mm(self) -> float:
        """The slice thickness of the sidecar, or 0."""
        return self.beside.thickness_mm

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """The distances of rows and of columns (y, x) of the sidecar, or None."""
        return self.beside.spacing_mm

    @property
    def placement(self) -> Placement:
        """The meaning of `positions_mm`, see `Scan.placement`."""
        if self.beside.interval_mm is not None:
            return "measured"
        return "ordered" if self.in_order else "single"

    @property
    def positions_mm(self) -> tuple[float, ...]:
        """The slices' numbers times the sidecar's interval; without one, the numbers."""
        return tuple(number * (self.beside.interval_mm or 1.0) for number in self.numbers)

    @property
    def frame(self) -> Frame | None:
        """The constant None: arrays have no place in the patient."""
        return None

    @property
    def label(self) -> str:
        """The scan in messages, see `Scan.label`."""
        return label_of(self.patient, self.kernel, self.thickness_mm)

    @property
    def key(self) -> str:
        """A digest of the names, without that of the collection's own folder."""
        names = "/".join((*self.above[1:], self.name, self.dose_level or ""))
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    @property
    def study(self) -> str:
        """The constant "": the study is unknown."""
        return ""

    @property
    def files(self) -> tuple[Path, ...]:
        """The arrays, and the sidecar where there is one."""
        return (*self.arrays, self.beside.path) if self.beside.path else self.arrays

    def sources(self) -> tuple[str, ...]:
        """Return the SHA-256 of each file of pixels."""
        return tuple(file_digest(path) for path in self.arrays)

    def read(self) -> VolumeHU:
        """Read the pixels.

        Returns:
            int16 (z y x) in HU, rounded, from -1024 up.

        Raises:
            VolumeError: a file cannot be read, has changed, or does not hold HU.
        """
        stored, name = self.values(), self.arrays[0].name
        if stored.shape != self.shape:
            raise VolumeError(f"{name}: changed while being read; start again")
        slope = self.slope if self.beside.slope is None else self.beside.slope
        intercept = self.intercept if self.beside.intercept is None else self.beside.intercept
        volume, ends = np.empty(self.shape, np.int16), np.empty((len(stored), 2))
        # Slice by slice, because a float64 copy would be four times the volume.
        for z, values in enumerate(stored):
            with np.errstate(all="ignore"):  # what overflows is not finite, and is refused below
                hu = values.astype(np.float64) * slope + intercept
            ends[z] = hu.min(), hu.max()
            if np.isfinite(ends[z]).all():
                volume[z] = whole_hu(hu)
        require_hu(name, float(ends[:, 0].min()), float(ends[:, 1].max()))
        return volume


def open_npy(path: Path, axes: str) -> Num[np.ndarray, "..."]:
    """Map a .npy file of numbers.

    Args:
        path: the file; it is never unpickled.
        axes: the axes that it must have, such as "z y x".

    Raises:
        VolumeError: the file is damaged, holds objects, or has other axes.
    """
    try:
        # Unlike np.load, this function opens no archive and no pickle.
        array: Num[np.ndarray, ...] = np.lib.format.open_memmap(path, mode="r")
    # A header is evaluated and may hold anything, such as numbers beyond every type.
    except Exception as error:
        said = cause(error, damaged="is damaged or holds objects, must be a .npy file of numbers")
        raise VolumeError(f"{path.name}: {said}") from None
    require_numbers(path.name, array.dtype, array.shape, axes)
    return array


def require_numbers(name: str, dtype: np.dtype, shape: Sequence[int], axes: str) -> None:
    """Refuse arrays that hold no numbers, or have other axes.

    Args:
        name: the base name of the file, for the message.
        dtype: the dtype of the array.
        shape: the shape of the array.
        axes: the axes that it must have, such as "z y x".

    Raises:
        VolumeError: the array is such; the message names its dtype or shape.
    """
    if dtype.kind not in "iuf":
        raise VolumeError(f"{name}: holds {dtype}, must hold whole or floating-point numbers")
    if len(shape) != len(axes.split()) or min(shape) < 1:
        found = " x ".join(map(str, shape)) or "a single number"
        raise VolumeError(f"{name}: is {found}, must have the axes ({axes})")
