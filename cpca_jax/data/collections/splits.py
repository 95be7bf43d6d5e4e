"""Splits of the patients into training, validation and test, as the user chooses them."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cpca_jax.data.collections import pairs
from cpca_jax.data.collections.published import SPLITS_BY_NAME
from cpca_jax.data.scan import Scan
from cpca_jax.errors import ConfigError
from cpca_jax.runtime.circumstances import cause
from cpca_jax.runtime.files import read_small


@dataclasses.dataclass(frozen=True)
class SplitChoice:
    """A choice of one in three: lists or nothing (see `pairs.split_patients`), a name, or a file.

    Attributes:
        test: the patients to test on.
        validation: the patients to validate on.
        by: the name of a published split, see `published.SPLITS_BY_NAME`.
        file: a JSON object {patient: "train", "validation" or "test"}.
        seed: the seed of the order where no list decides.
    """

    test: Sequence[str] = ()
    validation: Sequence[str] = ()
    by: str | None = None
    file: Path | None = None
    seed: int = 0

    @property
    def described(self) -> str:
        """The choice in a few words, without the file's name."""
        if self.by:
            return f"published split {self.by}"
        if self.file:
            return "a file of patients"
        return "lists" if self.test or self.validation else f"seed {self.seed}"

    def published(self) -> Callable[[str], str | None] | None:
        """Return the function from a patient to its split or None; None where no table is wanted.

        Raises:
            ConfigError: the name is unknown, the file is no such object, or there are several
                choices.
        """
        chosen = [
            name
            for name, value in (
                ("--test or --validation", self.test or self.validation),
                ("--split_by", self.by),
                ("--split_file", self.file),
            )
            if value
        ]
        if len(chosen) > 1:
            raise ConfigError(f"{' and '.join(chosen)}: give one of them")
        if self.by and self.by not in SPLITS_BY_NAME:
            known = ", ".join(SPLITS_BY_NAME)
            raise ConfigError(f"--split_by is {self.by!r}, must be in {known}")
        if self.by:
            return SPLITS_BY_NAME[self.by]
        return _read(self.file).get if self.file else None

    def assign(self, patients: Sequence[str]) -> dict[str, str]:
        """Return the split of each patient; with a table, of each patient in the table.

        Args:
            patients: all patients.

        Raises:
            ConfigError: see `published` and `pairs.split_patients`.
        """
        table = self.published()
        if table is None:
            lists = {"test": self.test, "validation": self.validation}
            return pairs.split_patients(patients, **lists, seed=self.seed)
        return {patient: split for patient in sorted(set(patients)) if (split := table(patient))}


def require_studies_whole(scans: Iterable[Scan], splits: Mapping[str, str]) -> None:
    """Refuse splits that separate the scans of one study.

    Where PatientID says nothing, folders stand for patients, and two folders may hold scans of the
    same patient.

    Args:
        scans: all scans of the patients.
        splits: the split of each patient; patients without a split do not matter.

    Raises:
        ConfigError: two patients share a StudyInstanceUID and are in different splits.
    """
    seen: dict[str, str] = {}
    for one in scans:
        patient, study = one.patient, one.study
        if not study or patient not in splits:
            continue
        other = seen.setdefault(study, patient)
        if splits[other] != splits[patient]:
            raise ConfigError(
                f"{other} and {patient} share a StudyInstanceUID and are in splits "
                f"{splits[other]} and {splits[patient]}: if they are one patient, put them in one "
                "split with --split_file; if not, their files were made anonymous wrongly"
            )


def _read(path: Path) -> dict[str, str]:
    try:
        table = json.loads(read_small(path, error=ConfigError), object_pairs_hook=_once)
    except OSError as error:
        raise ConfigError(f"--split_file: {path.name}: cannot be read: {cause(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--split_file: {path.name}: is no JSON ({error})") from error
    if not isinstance(table, dict) or not table:
        raise ConfigError(f'--split_file: {path.name}: must be {{"L096": "test", ...}}')
    for patient, split in table.items():
        if split not in pairs.SPLITS:
            known = ", ".join(pairs.SPLITS)
            raise ConfigError(
                f"--split_file: {path.name}: {patient} is in {split!r}, must be in {known}"
            )
    return table


def _once(rows: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a patient that is listed twice; JSON would keep the last entry silently."""
    table: dict[str, Any] = {}
    for patient, split in rows:
        if patient in table:
            raise ConfigError(f"--split_file: {patient} is listed twice, must be in one split")
        table[patient] = split
    return table


def held_out(patients: Iterable[str], folds: int, fold: int) -> frozenset[str]:
    """Return the patients of one fold of a cross-validation: every `folds`-th by name.

    Args:
        patients: all patients, in any order; repetitions do not count.
        folds: the number of parts.
        fold: the index of the part, from 0.

    Raises:
        ConfigError: there are fewer patients than folds.
    """
    names = sorted(set(patients))
    if len(names) < folds:
        raise ConfigError(f"config.data.folds: {folds}; there are only {len(names)} patients")
    return frozenset(names[fold::folds])
