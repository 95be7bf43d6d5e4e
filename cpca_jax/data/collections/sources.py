"""The kinds of files that a folder of scans may hold, and the search for each kind.

A kind is a row of `COLLECTIONS`. Files of every kind become scans, and everything after that
(pairs, doses, splits, the store) is the same. A user's own kind is a row, too: `register`.
"""

import dataclasses
import itertools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from cpca_jax.data import folders, listing
from cpca_jax.data.collections import (
    hdf5_pairs,
    lodopab,
    nifti,
    nifti_series,
    numpy_volumes,
    pairs,
    png_pairs,
    redcnn_pairs,
)
from cpca_jax.data.collections.pairs import Pair
from cpca_jax.data.dicom import search, slice_file
from cpca_jax.data.listing import Listing
from cpca_jax.data.scan import PROJECTIONS, Find, FoundScans, Track
from cpca_jax.errors import ConfigError, ScanError
from cpca_jax.registry import Registry


@dataclasses.dataclass(frozen=True)
class Collection:
    """A kind of files.

    Attributes:
        holds: the function that tells whether a file is of this kind, from its name or first bytes.
        find: the function that finds the scans below a folder.
        full_dose_only: the reason why there are no low-dose images, "" where there are.
    """

    holds: Callable[[Path], bool]
    find: Find
    full_dose_only: str = ""


# A folder is read as the first kind that it holds: NIfTI files next to DICOM files are masks or
# exports, and the pairs of RED-CNN are NumPy arrays, too.
_BUILT_IN = {
    "DICOM": Collection(slice_file.is_dicom, search.find_scans),
    "NIfTI": Collection(nifti.is_nifti, nifti_series.find_nifti),
    "LoDoPaB": Collection(
        lodopab.is_lodopab,
        lodopab.find_lodopab,
        full_dose_only="its low dose is sinograms, not images; give --simulate_dose",
    ),
    "RED-CNN": Collection(redcnn_pairs.is_pair_slice, redcnn_pairs.find_slice_pairs),
    "NumPy": Collection(numpy_volumes.is_npy, numpy_volumes.find_arrays),
    "HDF5": Collection(hdf5_pairs.is_hdf5, hdf5_pairs.find_hdf5),
    "PNG": Collection(png_pairs.is_png, png_pairs.find_png),
}
COLLECTIONS: Registry[Collection] = Registry("collection", _BUILT_IN)


def register(name: str, collection: Collection) -> None:
    """Add a kind of files; folders are asked for it before the built-in kinds.

    Args:
        name: the name in messages and on the page; letters, digits, "_" and "-".
        collection: the functions that recognise and find its files.

    Raises:
        ConfigError: the name is taken, or is not a plain one.
    """
    COLLECTIONS.register(name, collection)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The folders to search: one for everything, or one for each dose level.

    Attributes:
        both: a folder whose subfolders' names tell the dose level.
        full: a folder with nothing but full dose.
        low: a folder with nothing but low dose.
    """

    both: Path | None = None
    full: Path | None = None
    low: Path | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that are read."""
        return tuple(path for path in (self.both, self.full, self.low) if path)

    def check(self, *, simulate: bool) -> None:
        """Refuse combinations that mean nothing.

        Args:
            simulate: whether the low dose is to be simulated.

        Raises:
            ConfigError: there are no folders or too many, or one lies within the other.
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
    """All scans of the inputs.

    Attributes:
        kind: the key of a row of `COLLECTIONS`.
        layout: the public collection that the folders look like, or "own folders".
        found: the scans, and the files that cannot be used.
        name: the name of the folder that was read, for messages.
    """

    kind: str
    layout: str
    found: FoundScans
    name: str


def gather(inputs: Inputs, *, track: Track) -> Gathered:
    """Find all scans of the inputs.

    Args:
        inputs: the folders.
        track: the display of progress.

    Returns:
        The scans.

    Raises:
        ScanError: a folder is missing, or holds nothing usable.
        ConfigError: the two folders are of different kinds.
    """
    listed = {path: listing.list_files(path) for path in inputs.folders}
    kinds = {recognise(path, listed=listed[path]) for path in inputs.folders}
    if len(kinds) > 1:
        raise ConfigError(f"--full and --low hold {' and '.join(sorted(kinds))}, must be alike")
    (kind,) = kinds
    sides = ((inputs.both, None), (inputs.full, folders.FULL), (inputs.low, folders.LOW))
    found = _together([
        COLLECTIONS[kind].find(
            Path(os.path.abspath(path)), listed=listed[path], level=level, track=track
        )
        for path, level in sides
        if path
    ])
    return Gathered(kind, ", ".join(found.layouts), found, inputs.folders[0].name)


def recognise(root: Path, *, listed: Listing | None = None) -> str:
    """Return the kind of files that a folder holds, a key of `COLLECTIONS`.

    Where there are several, a user's own kind goes first, then the built-in ones in their order.

    Args:
        root: the folder.
        listed: the files below it, where they are listed already.

    Raises:
        ScanError: `root` is not a folder, or holds none of the kinds.
    """
    if not root.is_dir():
        raise ScanError(f"{root.name}: is not a folder, must be one with CT images")
    listed = listed or listing.list_files(root)
    own = [kind for kind in COLLECTIONS if kind not in _BUILT_IN]
    for kind in (*own, *_BUILT_IN):
        if any(COLLECTIONS[kind].holds(path) for path in listed.paths):
            return kind
    raise ScanError(
        f"{root.name}: no CT images among {len(listed.paths)} files ({listed.projections} "
        f"{PROJECTIONS} set aside), must hold {', '.join(COLLECTIONS)}"
    )


def choose_pairs(
    gathered: Gathered, *, simulate: bool
) -> tuple[tuple[Pair, ...], list[str], tuple[str, ...]]:
    """Choose the scans that become series of the store.

    Args:
        gathered: all scans.
        simulate: whether the low dose is to be simulated; then each scan that is not low
            dose is a pair with itself.

    Returns:
        The pairs, a message for each scan that cannot be used, and the patients with full dose
        only.

    Raises:
        ScanError: nothing tells the dose of the files.
        ConfigError: the kind has no low-dose images.
    """
    found = gathered.found.scans
    if simulate:
        low = [one for one in found if one.dose_level == folders.LOW]
        reason = "is low dose already, a lower one is simulated from full dose only"
        chosen = tuple(Pair(one, one) for one in found if one.dose_level != folders.LOW)
        return chosen, [f"{one.label}: {reason}" for one in low], ()
    reason = COLLECTIONS[gathered.kind].full_dose_only
    if reason:
        raise ConfigError(f"{gathered.kind}: {reason}")
    if not any(one.dose_level for one in found):
        raise ScanError(
            f"{gathered.name}: {len(found)} series, none in a folder whose name tells its dose; "
            "say which is which by --full DIR --low DIR, or by folders called full_3mm and "
            "low_3mm, or give --simulate_dose where all are full dose"
        )
    levels: dict[str, set[str | None]] = {}
    for one in found:
        levels.setdefault(one.patient, set()).add(one.dose_level)
    alone = tuple(patient for patient, seen in levels.items() if seen == {folders.FULL})
    chosen, refused = pairs.find_pairs([one for one in found if one.patient not in alone])
    return chosen, refused, alone


def _together(sides: Sequence[FoundScans]) -> FoundScans:
    counts: Counter[str] = Counter()
    for side in sides:
        counts.update(side.left_out)
    return FoundScans(
        tuple(one for side in sides for one in side.scans),
        tuple(message for side in sides for message in side.refused),
        dict(counts),
        tuple(dict.fromkeys(note for side in sides for note in side.notes)),
        tuple(sorted({layout for side in sides for layout in side.layouts})),
    )
