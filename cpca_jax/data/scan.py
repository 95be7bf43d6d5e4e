"""One series of slices of any origin, as the rest of the package sees it.

Scans of DICOM, NIfTI, LoDoPaB, arrays and a user's own format are paired, split, checked and
stored by the members of `Scan` alone.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from cpca_jax.data.listing import Listing
from cpca_jax.runtime.files import file_digest
from cpca_jax.types import VolumeHU

# The meaning of `Scan.positions_mm`. "measured": places along the normal in mm. "ordered": the
# numbers of the slices; consecutive numbers are neighbours at an unknown distance. "single":
# numbers again, but no slice is the neighbour of another.
Placement = Literal["measured", "ordered", "single"]
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)

# A function that passes items through and shows progress: (items, description, number of items).
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]

# Positions that differ by less are the same place: files round positions to 1e-3 mm or
# better, and no scanner reconstructs slices less than 0.1 mm apart.
SAME_PLACE_MM = 0.01

# Keys of `FoundScans.left_out`.
FOREIGN = "files of another kind"
PROJECTIONS = "projections"
SPECIAL = "named pipes, sockets and devices"


@dataclasses.dataclass(frozen=True)
class Frame:
    """The place of slices in the patient, in DICOM's coordinates.

    Attributes:
        orientation: the direction cosines of x, then of y.
        origins_mm: the centre of each slice's first pixel (x, y, z).
    """

    orientation: tuple[float, ...]
    origins_mm: tuple[tuple[float, ...], ...]

    @functools.cached_property
    def positions_mm(self) -> tuple[float, ...]:
        """The places of the slices along their normal, the cross product of x and y."""
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        return tuple(float(normal @ np.asarray(origin)) for origin in self.origins_mm)


@runtime_checkable
class Scan(Protocol):
    """Slices of one reconstruction at one dose level; see `ScanFacts` for a base class."""

    @property
    def patient(self) -> str:
        """A name that may stand in stores, logs and file names, see `folders.patient_key`."""

    @property
    def kernel(self) -> str:
        """The convolution kernel, "unknown" where the files do not say."""

    @property
    def thickness_mm(self) -> float:
        """The slice thickness; 0 where the files do not say."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """The numbers of slices, rows and columns (z, y, x)."""

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """The distances of rows and of columns (y, x); None where they are unknown."""

    @property
    def positions_mm(self) -> tuple[float, ...]:
        """The slices' places, ascending; slice numbers where `placement` is not "measured"."""

    @property
    def placement(self) -> Placement:
        """The meaning of `positions_mm`."""

    @property
    def frame(self) -> Frame | None:
        """The slices' place in the patient; None where it is unknown."""

    @property
    def dose_level(self) -> str | None:
        """The dose level: `folders.FULL`, `folders.LOW`, or None where nothing tells it."""

    @property
    def label(self) -> str:
        """The scan in messages: patient, kernel, thickness."""

    @property
    def key(self) -> str:
        """The text that tells the scan from others of its label; it seeds simulated noise."""

    @property
    def study(self) -> str:
        """The name that all scans of one examination share; "" where it is unknown."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that `read` and the other fields depend on."""

    def sources(self) -> tuple[str, ...]:
        """Return digests of the slices' identifiers or, without such, of the files."""

    def read(self) -> VolumeHU:
        """Return the pixels in HU, int16 (z y x) of `shape`.

        Raises:
            ScanError: a file cannot be read, has changed, or does not hold HU.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanFacts:
    """All of a `Scan` but `read`: a base class for scans whose files say little."""

    patient: str
    shape: tuple[int, int, int]
    positions_mm: tuple[float, ...]
    placement: Placement
    dose_level: str | None
    key: str
    files: tuple[Path, ...]
    kernel: str = "unknown"
    thickness_mm: float = 0.0
    spacing_mm: tuple[float, float] | None = None
    frame: Frame | None = None
    study: str = ""

    @property
    def label(self) -> str:
        """The scan in messages, see `Scan.label`."""
        return label_of(self.patient, self.kernel, self.thickness_mm)

    def sources(self) -> tuple[str, ...]:
        """Return the SHA-256 of each file."""
        return tuple(file_digest(path) for path in self.files)


@dataclasses.dataclass(frozen=True)
class FoundScans:
    """The scans below a folder.

    Attributes:
        scans: those that can be used.
        refused: one message for each file or scan that cannot be used.
        left_out: the number of files that are no part of a scan, by kind.
        notes: further facts worth knowing, one line each.
        layouts: the layouts of the folders, see `folders.layout`.
    """

    scans: tuple[Scan, ...]
    refused: tuple[str, ...] = ()
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ("own folders",)


@runtime_checkable
class Find(Protocol):
    """A function that finds the scans of one collection."""

    def __call__(
        self, root: Path, *, listed: Listing, level: str | None, track: Track
    ) -> FoundScans:
        """Return all scans below a folder.

        Args:
            root: the folder, an absolute path.
            listed: the files below it.
            level: the dose level of all scans; None where names tell it.
            track: the display of progress.

        Raises:
            ScanError: no scan can be used.
            ConfigError: a level is given, but each file tells its own.
        """


def no_track(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    """Return the items as they are; nothing is shown."""
    return items


def label_of(patient: str, kernel: str, thickness_mm: float) -> str:
    """Return a scan's name in messages."""
    return f"{patient} {kernel} {thickness_mm:g} mm"


def file_name(patient: str, kernel: str, thickness_mm: float) -> str:
    """Return a name for files, without blanks or odd characters; `patient` may be ""."""
    parts = (patient, kernel, f"{thickness_mm:g}mm")
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(part for part in parts if part))


def plain_kernel(text: str) -> str:
    """Return free text as the name of a kernel: one short line of harmless characters.

    The name goes into messages and manifests; it is "unknown" where nothing is left.
    """
    return re.sub(r"[^A-Za-z0-9._+/ -]", "", text)[:32].strip() or "unknown"
