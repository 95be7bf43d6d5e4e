"""Stages as folders: a finished stage stays finished until something that it depends on changes.

ROOT/stages/NAME-DIGEST/            the results of a stage; the digest is that of its settings and
                                    of the digests of its needs
ROOT/stages/NAME-DIGEST/done.json   written last, when the stage is complete: its time from its
                                    last start, its device and its code

A changed setting gives a new digest to the stage and to all stages that need it, so these rerun
and no others. The results of older settings stay where they are.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cpca_jax.errors import ConfigError
from cpca_jax.runtime import circumstances, files, records
from cpca_jax.types import Say

DONE = "done.json"
# No stage takes thirty years.
_LONGEST_SECONDS = 1e9


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of an experiment.

    Attributes:
        name: Its name, of letters, digits, ".", "_" and "-".
        run: The function that does the work. It takes the folder of the stage, which may hold
            files of an interrupted run, and the folders of the needs by name.
        needs: The stages whose results it takes.
        settings: The settings, besides its needs, on which its result depends, as JSON values.
        seconds: The estimated time that it takes.
    """

    name: str
    run: Callable[[Path, Mapping[str, Path]], None]
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


class Plan:
    """A sequence of stages in which each comes after its needs."""

    def __init__(
        self, root: Path, stages: Sequence[Stage], *, origin: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        """Check that the stages fit together.

        Args:
            root: The folder of the experiment.
            stages: The stages, each after all that it needs.
            origin: A function that returns the notes about the device and the code for the record
                of a finished stage; it is called after a stage has run, not for a plan.

        Raises:
            ConfigError: Two stages have the same name, or a need does not come before its stage.
        """
        self._root, self._origin = root, origin
        self._stages: dict[str, Stage] = {}
        self._digests: dict[str, str] = {}
        for stage in stages:
            missing = [need for need in stage.needs if need not in self._stages]
            if stage.name in self._stages or missing:
                wrong = f"needs {missing[0]}, which" if missing else "stands twice and"
                raise ConfigError(f"stage {stage.name} {wrong} must come before it, once")
            needs = [self._digests[need] for need in stage.needs]
            written = json.dumps([stage.name, needs, stage.settings], sort_keys=True)
            self._digests[stage.name] = hashlib.sha256(written.encode()).hexdigest()
            self._stages[stage.name] = stage

    def folder(self, name: str) -> Path:
        """Return the folder for the results of a stage."""
        return self._root / "stages" / f"{name}-{self._digests[name][:8]}"

    def seconds_taken(self, name: str) -> float | None:
        """Return the time that a stage took; None while it is not done."""
        record = read_record(self.folder(name))
        return float(record["seconds"]) if record else None

    def chosen(self, only: Sequence[str] = ()) -> list[str]:
        """Return the named stages and all that they need, in order; without names, all stages.

        Raises:
            ConfigError: A name is unknown.
        """
        unknown = sorted(set(only) - set(self._stages))
        if unknown:
            raise ConfigError(f"--only: {unknown[0]} is none of {', '.join(self._stages)}")
        wanted = set(only or self._stages)
        for name in reversed(self._stages):
            if name in wanted:
                wanted |= set(self._stages[name].needs)
        return [name for name in self._stages if name in wanted]

    def describe(self, only: Sequence[str] = ()) -> Iterator[str]:
        """Yield one line for each stage with its state and its time on two cores."""
        left = 0.0
        for name in self.chosen(only):
            taken, stage = self.seconds_taken(name), self._stages[name]
            state = "to do, about" if taken is None else "done in"
            left += stage.seconds if taken is None else 0.0
            after = f" after {', '.join(stage.needs)}" if stage.needs else ""
            seconds = stage.seconds if taken is None else taken
            yield f"{name}: {state} {duration(seconds)}{after}"
        yield f"about {duration(left)} are left on two cores"

    def run(self, only: Sequence[str] = (), *, say: Say) -> None:
        """Run the stages that are not done.

        Raises:
            ConfigError: A name in `only` is unknown.
            InputError: A stage raised it; stages finished before stay finished.
        """
        names = self.chosen(only)
        for number, name in enumerate(names, 1):
            folder, stage = self.folder(name), self._stages[name]
            if self.seconds_taken(name) is not None:
                say(f"[{number}/{len(names)}] {name}: done before")
                continue
            say(f"[{number}/{len(names)}] {name} -> {folder}")
            with circumstances.disk_errors(folder.name):
                # For the owner only, because stages may show patients.
                folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.mkdir(mode=0o700, exist_ok=True)
            start = time.monotonic()
            stage.run(folder, {need: self.folder(need) for need in stage.needs})
            seconds = round(time.monotonic() - start, 1)
            record = {"stage": name, "seconds": seconds, "settings": dict(stage.settings)}
            record |= self._origin()
            files.write_file(folder / DONE, json.dumps(record, indent=1).encode())


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a finished stage; None where it is missing or damaged.

    Raises:
        OutputError: as in `records.read_record`.
    """
    record = records.read_record(folder / DONE)
    if record is None:
        return None
    taken: Any = record.get("seconds")
    sound = type(taken) in {int, float} and 0 <= taken < _LONGEST_SECONDS
    sound &= all(isinstance(record.get(key, ""), str) for key in ("device", "commit"))
    return record if sound else None


def duration(seconds: float) -> str:
    """Return a time in the largest unit that gives two or more."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
