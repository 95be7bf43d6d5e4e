"""What a folder of scans may hold, and how each kind is found and read.

A kind is a row of `SOURCES`. Whatever the files are, they become series, and everything after
that (pairs, doses, splits, the store) is the same.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from cpca_jax.data import folders, listing
from cpca_jax.data.collections import lodopab, nifti, nifti_series, pairs
from cpca_jax.data.collections.pairs import Pair
from cpca_jax.data.dicom import series, slice_file
from cpca_jax.data.dicom.series import Found, Series, Track
from cpca_jax.data.listing import Listing
from cpca_jax.errors import ConfigError, DicomError
from cpca_jax.types import VolumeHU


@dataclasses.dataclass(frozen=True)
class Source:
    """A kind of files.

    Attributes:
        holds: whether a file is of this kind, from its name or its first bytes.
        find: the series below a folder.
        read: the pixels of one of them, int16 HU (z y x).
        full_dose_only: why there can be no low-dose images, "" where there can.
    """

    holds: Callable[[Path], bool]
    find: Callable[..., Found]
    read: Callable[[Series], VolumeHU]
    full_dose_only: str = ""


# The first kind that a folder holds is what it is read as: NIfTI files beside DICOM are masks
# or exports of it.
SOURCES = {
    "DICOM": Source(slice_file.is_dicom, series.find_series, series.read_volume),
    "NIfTI": Source(nifti.is_nifti, nifti_series.find_nifti, nifti_series.read_nifti_series),
    "LoDoPaB": Source(
        lodopab.is_lodopab,
        lodopab.find_lodopab,
        lodopab.read_lodopab,
        full_dose_only="its low dose is sinograms, not images; give --simulate_dose",
    ),
}


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Where to look: one folder for everything, or one for each dose level.

    Attributes:
        both: its subfolders' names tell the dose level.
        full: all that it holds is full dose.
        low: all that it holds is low dose.
    """

    both: Path | None = None
    full: Path | None = None
    low: Path | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders that are read."""
        return tuple(path for path in (self.both, self.full, self.low) if path)

    def check(self, *, simulate: bool) -> None:
        """Refuse combinations that mean nothing.

        Args:
            simulate: whether the low dose is to be simulated.

        Raises:
            ConfigError: none or too many folders, or one within the other.
        """
        if self.both and (self.full or self.low):
            raise ConfigError("--input and --full with --low: give one of them")
        if not self.both and not self.full:
            raise ConfigError("--input or --full: give one of them")
        if self.full and bool(self.low) == simulate:
            raise ConfigError("--full: give --low DIR or --simulate_dose beside it, one of them")
        for one, other in itertools.permutations(self.folders, 2):
            if one.resolve().is_relative_to(other.resolve()):
                raise ConfigError("--full and --low: one lies in the other, must be apart")


@dataclasses.dataclass(frozen=True)
class Gathered:
    """All series of the inputs, and how to read them.

    Attributes:
        kind: key of `SOURCES`.
        layout: which public collection the folders look like, or "own folders".
        found: the series, and what cannot be used.
        name: of the folder that was read, for messages.
    """

    kind: str
    layout: str
    found: Found
    name: str

    @property
    def source(self) -> Source:
        """How this kind is read."""
        return SOURCES[self.kind]


def gather(inputs: Inputs, *, track: Track) -> Gathered:
    """Find all series of the inputs.

    Args:
        inputs: the folders.
        track: shows progress.

    Returns:
        The series.

    Raises:
        DicomError: a folder is missing, or holds nothing usable.
        VolumeError: likewise.
        ConfigError: two folders of different kinds.
    """
    listed = {path: listing.list_files(path) for path in inputs.folders}
    kinds = {recognise(path, listed=listed[path]) for path in inputs.folders}
    if len(kinds) > 1:
        raise ConfigError(f"--full and --low hold {' and '.join(sorted(kinds))}, must be alike")
    (kind,) = kinds
    find = SOURCES[kind].find
    if inputs.both:
        found = find(inputs.both, track=track, listed=listed[inputs.both])
    else:
        sides = ((inputs.full, folders.FULL), (inputs.low, folders.LOW))
        found = _together([
            _of_level(find(path, track=track, listed=listed[path]), level)
            for path, level in sides
            if path
        ])
    layouts = {folders.layout(one.first.folders) for one in found.series}
    layout = kind if kind == "LoDoPaB" else ", ".join(sorted(layouts))
    return Gathered(kind, layout, found, inputs.folders[0].name)


def recognise(root: Path, *, listed: Listing | None = None) -> str:
    """Which kind of files a folder holds; the first of `SOURCES` where there are several.

    Args:
        root: the folder.
        listed: the files below it, where they are listed already.

    Raises:
        DicomError: it is not a folder, or holds none of them.
    """
    if not root.is_dir():
        raise DicomError(f"{root.name}: is not a folder, must be one with CT images")
    listed = listed or listing.list_files(root)
    for kind, source in SOURCES.items():
        if any(source.holds(path) for path in listed.paths):
            return kind
    raise DicomError(
        f"{root.name}: no CT images among {len(listed.paths)} files ({listed.projections} "
        f"projections set aside), must hold {', '.join(SOURCES)}"
    )


def choose_pairs(
    gathered: Gathered, *, simulate: bool
) -> tuple[tuple[Pair, ...], list[str], tuple[str, ...]]:
    """What becomes a series of the store.

    Args:
        gathered: all series.
        simulate: whether the low dose is to be simulated; then each series that is not low
            dose is a pair with itself.

    Returns:
        The pairs, a message for each series that cannot be used, and the patients of whom
        there is nothing but full dose.

    Raises:
        DicomError: no folder tells which dose its files are.
        ConfigError: a kind without low-dose images.
    """
    found = gathered.found.series
    if simulate:
        low = [one for one in found if one.dose_level == folders.LOW]
        reason = "is low dose already, a lower one is simulated from full dose only"
        chosen = tuple(Pair(one, one) for one in found if one.dose_level != folders.LOW)
        return chosen, [f"{one.label}: {reason}" for one in low], ()
    if gathered.source.full_dose_only:
        raise ConfigError(f"{gathered.kind}: {gathered.source.full_dose_only}")
    if not any(one.dose_level for one in found):
        raise DicomError(
            f"{gathered.name}: {len(found)} series, none in a folder whose name tells its dose; "
            "say which is which by --full DIR --low DIR, or by folders called full_3mm and "
            "low_3mm, or give --simulate_dose where all are full dose"
        )
    levels: dict[str, set[str | None]] = {}
    for one in found:
        levels.setdefault(one.first.patient_key, set()).add(one.dose_level)
    alone = tuple(patient for patient, seen in levels.items() if seen == {folders.FULL})
    chosen, refused = pairs.find_pairs([o for o in found if o.first.patient_key not in alone])
    return chosen, refused, alone


def _of_level(found: Found, level: str) -> Found:
    """The same series, all of one dose level, whatever their folders are called."""
    return dataclasses.replace(found, series=tuple(_told(one, level) for one in found.series))


def _told(one: Series, level: str) -> Series:
    headers = tuple(
        dataclasses.replace(
            header,
            folders=(*header.folders, f"{level} dose"),
            patient_key=folders.without_collection(header.patient_key, header.folders),
        )
        for header in one.headers
    )
    return dataclasses.replace(one, headers=headers)


def _together(sides: Sequence[Found]) -> Found:
    def joined(name: str) -> tuple[str, ...]:
        return tuple(item for side in sides for item in getattr(side, name))

    def total(name: str) -> int:
        return sum(getattr(side, name) for side in sides)

    return Found(
        tuple(one for side in sides for one in side.series),
        joined("refused"),
        total("localizers"),
        total("foreign"),
        total("projections"),
        tuple(dict.fromkeys(joined("notes"))),
        joined("other"),
    )
