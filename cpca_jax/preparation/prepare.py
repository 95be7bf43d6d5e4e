"""The preparation of a store of paired volumes from folders of scans, or from nothing.

The source is images of both dose levels, full dose only with the low dose simulated, or seeded
phantoms. Series that cannot be used are reported and left out; the others go on.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from cpca_jax.data.collections import pairs, sources
from cpca_jax.data.collections.pairs import Pair
from cpca_jax.data.collections.published import KNOWN_DEFECTS
from cpca_jax.data.collections.sources import Gathered, Inputs
from cpca_jax.data.collections.splits import SplitChoice, require_studies_whole
from cpca_jax.data.messages import say_first
from cpca_jax.data.scan import Track, no_track
from cpca_jax.data.store.reader import Store, open_store
from cpca_jax.data.store.writer import StoreWriter
from cpca_jax.errors import ConfigError, ScanError
from cpca_jax.preparation import store_page
from cpca_jax.preparation.pair_reader import Outcome, Reader
from cpca_jax.preparation.store_page import EXAMPLES, PAGE, Summary
from cpca_jax.runtime import files
from cpca_jax.simulation import low_dose
from cpca_jax.types import Say
from cpca_jax.values import POSITIVE, SEED, require, require_number


def _silent(message: str) -> None:
    """Say nothing."""


def prepare_scans(
    inputs: Inputs,
    output: Path | None,
    *,
    choice: SplitChoice | None = None,
    simulate_dose: float | None = None,
    check: bool = False,
    report: Path | None = None,
    say: Say = _silent,
    track: Track = no_track,
) -> Store | None:
    """Make a store from folders of scans, and a page about it (STORE/prepare.html).

    Args:
        inputs: the folders; `sources.COLLECTIONS` lists the kinds of files that they may hold.
        output: the store's folder; must be empty or not exist, and lie outside the inputs.
            With None nothing is written.
        choice: the patients for training, validation and test, and the seed of simulated
            noise.
        simulate_dose: the share of the full dose to simulate; None to search for pairs.
        check: whether to do everything but write the store.
        report: a further file for the page, .html, outside the inputs.
        say: the receiver of one line for everything worth knowing.
        track: the display of progress.

    Returns:
        The store, open; None where nothing was to be written.

    Raises:
        ConfigError: patients are unknown, folders or flags do not fit, or the dose is outside
            (0, 1).
        ScanError: the inputs hold nothing usable.
        StoreError: `output` cannot be a new store.
    """
    inputs.check(simulate=simulate_dose is not None)
    if simulate_dose is not None:
        _require_dose(simulate_dose)
    if report:
        store_page.require_place(report, inputs.folders)
    choice = choice or SplitChoice()
    choice.published()
    writing = StoreWriter(output, sources=inputs.folders) if output else None
    with contextlib.nullcontext() if check or not writing else writing as writer:
        gathered = sources.gather(inputs, track=track)
        chosen, refused, alone = sources.choose_pairs(gathered, simulate=simulate_dose is not None)
        _say_found(gathered, alone, say)
        found = gathered.found
        unusable = [*found.refused, *refused]
        say_first("refused", unusable, say, rest="more, the page lists all")
        kept = _of_split(chosen, choice, say)
        reader = Reader(writer, simulate_dose, choice.seed, EXAMPLES)
        outcomes = _read_all(reader, kept, say, track)
        usable = [outcome.info.patient for outcome in outcomes if not outcome.refused]
        splits = choice.assign(usable)
        require_studies_whole((pair.full for pair in kept), splits)
        summary = Summary(
            gathered, tuple(refused), alone, tuple(outcomes), splits, choice.described
        )
        page = store_page.render(summary)
        if report:
            files.write_file(report, page.encode())
        if not usable:
            raise _nothing_usable(gathered.name, alone)
        if writer:
            writer.assign_splits(splits)
            writer.add_page(PAGE, page)
    _say_splits(splits, say)
    return open_store(output) if output and not check else None


def prepare_phantoms(
    count: int,
    output: Path,
    *,
    slices: int = 32,
    size: int = 512,
    dose: float = 0.25,
    seed: int = 0,
    interval_mm: float = low_dose.INTERVAL_MM,
    test_count: int | None = None,
    validation_count: int | None = None,
    say: Say = _silent,
    track: Track = no_track,
) -> Store:
    """Make a store of seeded phantoms with a simulated low dose.

    Args:
        count: the number of phantoms; each is a patient.
        output: the store's folder; must be empty or not exist.
        slices: the number of slices of each phantom.
        size: the number of rows and of columns; the field of view is the phantom's own.
        dose: the share of the full dose.
        seed: the seed; the same seed gives the same store.
        interval_mm: the distance and the thickness of the slices.
        test_count: the number of phantoms for testing, the last ones; default a fifth, at least
            one.
        validation_count: the number before them for validation; default one if another is left
            for training.
        say: the receiver of one line for everything worth knowing.
        track: the display of progress.

    Returns:
        The store, open.

    Raises:
        ConfigError: a count or size is below 1, the interval is 0 or less, or the dose is outside
            (0, 1).
        StoreError: `output` cannot be a new store.
    """
    for name, value in (("phantom", count), ("slices", slices), ("size", size)):
        if value < 1:
            raise ConfigError(f"--{name} is {value}, must be at least 1")
    _require_dose(dose)
    require_number("--interval_mm", interval_mm, POSITIVE)
    require("--seed", seed, SEED)
    names = [f"phantom-{number:03d}" for number in range(count)]
    splits = _phantom_splits(names, test_count, validation_count)
    with StoreWriter(output) as writer:
        for name in track(names, "making phantoms", count):
            info, low, full = low_dose.phantom_pair(
                name,
                split=splits[name],
                slices=slices,
                size=size,
                dose=dose,
                seed=seed,
                interval_mm=interval_mm,
            )
            writer.add(info, low, full)
    _say_splits(splits, say)
    return open_store(output)


def _require_dose(dose: float) -> None:
    if not 0 < dose < 1:
        raise ConfigError(f"--simulate_dose is {dose:g}, must be between 0 and 1")


def _say_found(gathered: Gathered, alone: Sequence[str], say: Say) -> None:
    found = gathered.found
    say(f"found: {gathered.kind}, {gathered.layout}: {len(found.scans)} series")
    for patient, rows in store_page.by_patient(found.scans).items():
        shown = ", ".join(f"{row.dose} {row.kernel} {row.thickness} ({row.slices})" for row in rows)
        say(f"found: {patient}: {shown}")
        if patient in KNOWN_DEFECTS:
            say(f"known: {patient}: {KNOWN_DEFECTS[patient]}")
    if alone:
        say(f"full dose only: {len(alone)} patients; --simulate_dose would make their low dose")
    for count, what in store_page.left_out(found):
        say(f"left out: {count} {what}")
    for note in found.notes:
        say(f"note: {note}")


def _say_splits(splits: dict[str, str], say: Say) -> None:
    for split in pairs.SPLITS:
        members = [patient for patient in sorted(splits) if splits[patient] == split]
        say(f"{split}: {', '.join(members) or 'none'}")


def _of_split(chosen: Sequence[Pair], choice: SplitChoice, say: Say) -> list[Pair]:
    """Return the pairs in the split; lists are checked now, before hours of reading."""
    patients = sorted({pair.full.patient for pair in chosen})
    assigned = choice.assign(patients)
    beside = [patient for patient in patients if patient not in assigned]
    if beside:
        say(f"left out: {len(beside)} patients in no split: {', '.join(beside)}")
    if patients and not assigned:
        raise ConfigError(f"{choice.described}: none of the {len(patients)} patients is in it")
    return [pair for pair in chosen if pair.full.patient in assigned]


def _read_all(reader: Reader, chosen: Sequence[Pair], say: Say, track: Track) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for outcome in track(reader.outcomes(chosen), "reading series", len(chosen)):
        outcomes.append(outcome)
        if outcome.refused:
            say(f"refused: {outcome.refused}")
            continue
        noise = outcome.noise
        if outcome.calibration:
            say(f"{outcome.label}: {outcome.calibration}")
        shown = f"noise {noise[0]:.1f} -> {noise[1]:.1f} HU" if noise else "no soft tissue"
        again = ", finished before" if outcome.taken_over else ""
        say(f"{outcome.label}: {len(outcome.info.positions_mm)} slices, {shown}{again}")
    return outcomes


def _nothing_usable(name: str, alone: Sequence[str]) -> ScanError:
    only = f"{len(alone)} patients have full dose only; " if alone else ""
    return ScanError(
        f"{name}: no usable pair of dose levels, {only}the lines above say why; "
        "--simulate_dose makes pairs from full dose alone"
    )


def _phantom_splits(
    names: Sequence[str], test_count: int | None, validation_count: int | None = None
) -> dict[str, str]:
    """Assign the last phantoms to testing, those before to validation, the rest to training."""
    if test_count is None:
        test_count = max(1, len(names) // 5) if len(names) > 1 else 0
    if not 0 <= test_count < max(len(names), 1):
        raise ConfigError(f"test_count is {test_count}, must leave one of {len(names)} phantoms")
    left = len(names) - test_count
    if validation_count is None:
        validation_count = int(left > 1)
    if not 0 <= validation_count < max(left, 1):
        raise ConfigError(f"validation_count is {validation_count}, must leave one of {left}")
    splits = dict.fromkeys(names, pairs.TRAIN)
    splits |= dict.fromkeys(names[left - validation_count :], pairs.VALIDATION)
    return splits | dict.fromkeys(names[left:], pairs.TEST)
