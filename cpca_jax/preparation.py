"""From DICOM files, or from nothing, to a store of paired volumes.

Three sources: both dose levels as DICOM, full dose only with the low dose simulated, and
seeded phantoms. Series that cannot be used are reported and left out; the others go on.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from cpca_jax.data import doses, folders, pairs, series, simulation, store
from cpca_jax.data.pairs import Pair
from cpca_jax.data.series import Found, Series, Track
from cpca_jax.data.store import SeriesInfo, Store, StoreWriter
from cpca_jax.errors import ConfigError, DicomError
from cpca_jax.types import VolumeHU

Say = Callable[[str], None]

# How many refused things are listed before the rest is only counted.
_LISTED = 5


def _silent(message: str) -> None:
    """Say nothing."""


def _no_track(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    return items


def prepare_dicom(
    source: Path,
    output: Path,
    *,
    test: Sequence[str] = (),
    validation: Sequence[str] = (),
    simulate_dose: float | None = None,
    seed: int = 0,
    say: Say = _silent,
    track: Track = _no_track,
) -> Store:
    """Make a store from a folder of DICOM files.

    Args:
        source: folder with CT series, searched with its subfolders.
        output: the store's folder; must not exist, or be empty, and lie outside `source`.
        test: patients to test on; see `pairs.split_patients`.
        validation: patients to validate on.
        simulate_dose: simulate this share of the full dose instead of looking for pairs.
        seed: of the split and of simulated noise.
        say: gets one line for everything worth knowing.
        track: shows progress.

    Returns:
        The store, open.

    Raises:
        ConfigError: unknown patients, or a dose outside (0, 1).
        DicomError: nothing usable in `source`.
        StoreError: `output` cannot be a new store.
    """
    if simulate_dose is not None:
        _require_dose(simulate_dose)
    with StoreWriter(output, source=source) as writer:
        found = series.find_series(source, track=track)
        _report_found(found, say)
        if simulate_dose is None:
            chosen, refused = pairs.find_pairs(found.series)
        else:
            chosen, refused = _full_dose(found.series)
        _report_refused(refused, say)
        patients = [pair.full.first.patient_key for pair in chosen]
        # The lists are checked before hours of reading, and the split is made after it, of
        # those patients that turned out usable.
        pairs.split_patients(patients, test=test, validation=validation, seed=seed)
        usable = _add_all(writer, chosen, simulate_dose, seed, say, track)
        if not usable:
            raise DicomError(
                f"{source.name}: no usable pair of dose levels, the lines above say why; "
                "--simulate_dose makes pairs from full dose alone"
            )
        splits = pairs.split_patients(usable, test=test, validation=validation, seed=seed)
        writer.assign_splits(splits)
    _report_splits(splits, say)
    return store.open_store(output)


def prepare_phantoms(
    count: int,
    output: Path,
    *,
    slices: int = 32,
    size: int = 512,
    dose: float = 0.25,
    seed: int = 0,
    test_count: int | None = None,
    say: Say = _silent,
    track: Track = _no_track,
) -> Store:
    """Make a store of seeded phantoms with a simulated low dose.

    Args:
        count: how many phantoms; each is a patient.
        output: the store's folder; must not exist, or be empty.
        slices: slices of each, 3 mm apart.
        size: rows and columns; the field of view is the phantom's own.
        dose: share of the full dose.
        seed: the same seed gives the same store.
        test_count: how many are for testing, the last ones; default a fifth, at least one.
            The one before them is for validation if another is left for training.
        say: gets one line for everything worth knowing.
        track: shows progress.

    Returns:
        The store, open.

    Raises:
        ConfigError: a count or size below 1, or a dose outside (0, 1).
        StoreError: `output` cannot be a new store.
    """
    for name, value in (("phantom", count), ("slices", slices), ("size", size)):
        if value < 1:
            raise ConfigError(f"--{name} is {value}, must be at least 1")
    _require_dose(dose)
    names = [f"phantom-{number:03d}" for number in range(count)]
    splits = _phantom_splits(names, test_count)
    with StoreWriter(output) as writer:
        for name in track(names, "making phantoms", count):
            info, quarter, full = simulation.phantom_pair(
                name, split=splits[name], slices=slices, size=size, dose=dose, seed=seed
            )
            writer.add(info, quarter, full)
    _report_splits(splits, say)
    return store.open_store(output)


def _require_dose(dose: float) -> None:
    if not 0 < dose < 1:
        raise ConfigError(f"--simulate_dose is {dose:g}, must be between 0 and 1")


def _report_found(found: Found, say: Say) -> None:
    left_out = [
        (found.foreign, "not DICOM"),
        (found.localizers, "localizers"),
        (sum(one.duplicates for one in found.series), "identical copies of slices"),
    ]
    for count, what in left_out:
        if count:
            say(f"left out: {count} {what}")
    for one in found.series:
        if any(header.lossy for header in one.headers):
            say(f"warning: {one.label}: pixels were once compressed with loss")
    _report_refused(found.refused, say)


def _report_refused(refused: Sequence[str], say: Say) -> None:
    for message in refused[:_LISTED]:
        say(f"refused: {message}")
    if len(refused) > _LISTED:
        say(f"refused: {len(refused) - _LISTED} more")


def _report_splits(splits: dict[str, str], say: Say) -> None:
    for split in pairs.SPLITS:
        members = [patient for patient in sorted(splits) if splits[patient] == split]
        say(f"{split}: {', '.join(members) or 'none'}")


def _full_dose(found: Sequence[Series]) -> tuple[tuple[Pair, ...], list[str]]:
    """Series to simulate from, each as a pair with itself: all that are not low dose."""
    low = [one for one in found if one.dose_level == folders.QUARTER]
    reason = "is low dose already, a lower one is simulated from full dose only"
    pairs_with_self = tuple(Pair(one, one) for one in found if one not in low)
    return pairs_with_self, [f"{one.label}: {reason}" for one in low]


def _add_all(
    writer: StoreWriter,
    chosen: Sequence[Pair],
    simulate_dose: float | None,
    seed: int,
    say: Say,
    track: Track,
) -> list[str]:
    """Read, check and write each pair; the patients of those that were usable."""
    usable: list[str] = []
    taken: set[str] = set()
    for pair in track(chosen, "reading series", len(chosen)):
        name = _free_name(pair.full, taken)
        try:
            full, quarter, noise = _volumes(pair, simulate_dose, seed, say)
        except DicomError as error:
            say(f"refused: {error}")
            continue
        taken.add(name)
        writer.add(
            _info(name, pair.full, simulate_dose),
            quarter,
            full,
            quarter_sources=[header.sop_key for header in pair.quarter.headers],
            full_sources=[header.sop_key for header in pair.full.headers],
        )
        shown = f"noise {noise[0]:.1f} -> {noise[1]:.1f} HU" if noise else "no soft tissue"
        say(f"{pair.label}: {len(full)} slices, {shown}")
        usable.append(pair.full.first.patient_key)
    return usable


def _volumes(
    pair: Pair, simulate_dose: float | None, seed: int, say: Say
) -> tuple[VolumeHU, VolumeHU, doses.Noise | None]:
    """Full dose, low dose and the noise of both."""
    full = series.read_volume(pair.full)
    if simulate_dose is None:
        quarter = series.read_volume(pair.quarter)
        return full, quarter, doses.check_doses(pair.label, full, quarter)
    quarter, fitted = simulation.lower_dose(full, pair.full, dose=simulate_dose, seed=seed)
    say(f"{pair.label}: {fitted.note}")
    return full, quarter, doses.measure_noise(full, quarter)


def _info(name: str, one: Series, simulate_dose: float | None) -> SeriesInfo:
    first = one.first
    return SeriesInfo(
        name=name,
        patient=first.patient_key,
        split=pairs.TRAIN,  # until all usable patients are known
        kernel=first.kernel,
        thickness_mm=first.thickness_mm,
        spacing_mm=first.spacing_mm,
        positions_mm=one.positions_mm,
        simulated=simulate_dose is not None,
        dose=simulate_dose or doses.dose_fraction(first.patient_key),
    )


def _free_name(one: Series, taken: set[str]) -> str:
    first = one.first
    plain = f"{first.patient_key}-{first.kernel}-{first.thickness_mm:g}mm"
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", plain)
    names = [plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 2))]
    return next(name for name in names if name not in taken)


def _phantom_splits(names: Sequence[str], test_count: int | None) -> dict[str, str]:
    """The last ones are for testing, one before them for validation, the rest for training."""
    if test_count is None:
        test_count = max(1, len(names) // 5) if len(names) > 1 else 0
    if not 0 <= test_count < max(len(names), 1):
        raise ConfigError(f"test_count is {test_count}, must leave one of {len(names)} phantoms")
    splits = dict.fromkeys(names, pairs.TRAIN)
    rest = names[: len(names) - test_count]
    splits |= dict.fromkeys(names[len(rest) :], pairs.TEST)
    return splits | dict.fromkeys(rest[-1:] if len(rest) > 1 else [], pairs.VALIDATION)
