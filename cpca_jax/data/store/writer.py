"""A writer of stores, which appear complete or not at all."""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from cpca_jax.data.store import manifest
from cpca_jax.data.store.manifest import ArrayFile, SeriesInfo
from cpca_jax.errors import StoreError
from cpca_jax.runtime import circumstances, files, locks
from cpca_jax.runtime.files import file_digest
from cpca_jax.types import SliceHU, VolumeHU

_PROGRESS = "progress.jsonl"


class StoreWriter:
    """A context manager that writes a new store: all of it, or nothing.

    Series go to a folder next to the store's (.NAME.partial), which gets the store's name only
    when everything is on disk. On an error it is removed. After an interruption it
    stays, and the next writer of the same store may take over its finished series. Only the
    owner may enter the folder (mode 0700), because it holds images of patients.
    """

    def __init__(self, root: Path, *, sources: Sequence[Path] = ()) -> None:
        """Check the place of the store.

        Args:
            root: the store's folder; must be empty or not exist.
            sources: the folders that are read, if any; the store may not lie in them.

        Raises:
            StoreError: `root` is taken, a link, or within one of `sources`.
        """
        self.root = Path(os.path.abspath(root))
        files.require_apart(self.root, sources, error=StoreError)
        if self.root.exists() and any(self.root.iterdir()):
            raise StoreError(f"{self.root.name}: is not empty, --output must be a new folder")
        self._entries: list[manifest.Entry] = []
        self._pages: list[str] = []
        self._partial = self.root.with_name(f".{self.root.name}.partial")
        self._finished: dict[str, dict[str, Any]] = {}
        self._lock = ExitStack()

    def __enter__(self) -> "StoreWriter":
        with self._disk_errors():
            self.root.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as lock:
            # Next to the folder and not in it: Windows renames no folder with an open file.
            lock.enter_context(
                locks.hold(
                    self.root.with_name(f".{self.root.name}.lock"),
                    self.root.name,
                    "is being written by another prepare.py",
                    error=StoreError,
                )
            )
            if self._partial.is_symlink():
                raise StoreError(f"{self._partial.name}: is a link, must be a folder")
            with self._disk_errors():
                self._partial.mkdir(mode=0o700, exist_ok=True)
                self._finished = _finished(self._partial / _PROGRESS)
            self._lock = lock.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        interrupted = error is not None and not isinstance(error, Exception)
        try:
            if error is None:
                self._finish()
        finally:
            if not (interrupted and (self._partial / _PROGRESS).exists()):
                shutil.rmtree(self._partial, ignore_errors=True)
            self._lock.close()

    def take_over(self, key: str, name: str) -> dict[str, Any] | None:
        """Use a series that an interrupted writer of this store has finished.

        Args:
            key: the digest of everything that the series was made from, as given to `add`.
            name: the name of the series.

        Returns:
            The note about the series, or None where it has to be added.
        """
        done = self._finished.get(key)
        if done is None:
            return None
        entry: manifest.Entry = done["entry"]
        intact = all(
            (self._partial / array.file).is_file()
            and file_digest(self._partial / array.file) == array.sha256
            for array in (entry.low, entry.full)
        )
        if entry.info.name != name or not intact:
            return None
        manifest.check_together([*(one.info for one in self._entries), entry.info])
        self._entries.append(entry)
        return dict(done["note"])

    def slice_of(self, name: str, z: int) -> tuple[SliceHU, SliceHU]:
        """Return full and low dose of a slice of a series that is on disk already."""
        full, low = (
            np.load(self._partial / f"{name}.{dose}.npy", mmap_mode="r", allow_pickle=False)[z]
            for dose in ("full", "low")
        )
        return np.array(full), np.array(low)

    def add_page(self, name: str, text: str) -> None:
        """Put a page next to the manifest.

        Args:
            name: the name of its file.
            text: its contents.
        """
        with self._disk_errors():
            (self._partial / name).write_bytes(text.encode())
        self._pages.append(name)

    def add(
        self,
        info: SeriesInfo,
        low: VolumeHU,
        full: VolumeHU,
        *,
        low_sources: Sequence[str] = (),
        full_sources: Sequence[str] = (),
        key: str = "",
        note: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one series.

        Args:
            info: the facts about it.
            low: the low dose, int16 HU (z y x).
            full: the same slices at full dose.
            low_sources: the digests of the low-dose slices' identifiers.
            full_sources: the digests of the full-dose slices' identifiers.
            key: the digest of everything that it was made from; with a key, a later writer can
                take the series over if this one is interrupted.
            note: a note for that writer; must be JSON.

        Raises:
            StoreError: fields or shapes cannot be right, or the disk does not take the series.
        """
        info.check()
        if low.shape != full.shape or len(full) != len(info.positions_mm):
            shapes = f"{low.shape}, {full.shape} and {len(info.positions_mm)} positions"
            raise StoreError(f"{info.name}: low, full and positions_mm do not fit: {shapes}")
        manifest.check_together([*(entry.info for entry in self._entries), info])
        arrays = [
            self._write(f"{info.name}.{dose}.npy", volume, tuple(sources))
            for dose, volume, sources in (
                ("low", low, low_sources),
                ("full", full, full_sources),
            )
        ]
        entry = manifest.Entry(info, *arrays)
        self._entries.append(entry)
        if key:
            line = {"key": key, "note": dict(note or {}), "entry": manifest.row_of(entry)}
            progress = self._partial / _PROGRESS
            with self._disk_errors():
                with progress.open("a") as stream:
                    stream.write(json.dumps(manifest.signed(line)) + "\n")
                files.sync(progress)

    def assign_splits(self, splits: Mapping[str, str]) -> None:
        """Replace the splits of all series added so far.

        This is for drivers that know the usable patients only after reading everything.

        Args:
            splits: the split of each patient; every patient must have one.
        """
        self._entries = [
            dataclasses.replace(
                entry, info=dataclasses.replace(entry.info, split=splits[entry.info.patient])
            )
            for entry in self._entries
        ]

    def _write(self, file: str, volume: VolumeHU, sources: tuple[str, ...]) -> ArrayFile:
        path = self._partial / file
        with self._disk_errors():
            with path.open("wb") as stream:
                np.save(stream, np.ascontiguousarray(volume), allow_pickle=False)
            files.sync(path)  # before a line in the progress file says that it exists
            return ArrayFile(file, file_digest(path), sources)

    def _finish(self) -> None:
        if not self._entries:
            raise StoreError(f"{self.root.name}: nothing to store, no store was made")
        text = manifest.as_json(self._entries)
        arrays = {array.file for entry in self._entries for array in (entry.low, entry.full)}
        with self._disk_errors():
            for path in self._partial.iterdir():
                # Left by an interrupted writer, and made from inputs that no longer exist.
                if path.name not in {*arrays, *self._pages}:
                    path.unlink()
            (self._partial / manifest.NAME).write_bytes(text.encode())
            files.publish(self._partial, self.root)

    def _disk_errors(self) -> AbstractContextManager[None]:
        return circumstances.disk_errors(self.root.name, error=StoreError)


def _finished(progress: Path) -> dict[str, dict[str, Any]]:
    """Return the finished series of an interrupted writer by key, up to the first bad line."""
    finished: dict[str, dict[str, Any]] = {}
    text = progress.read_text(errors="replace") if progress.is_file() else ""
    for line in text.splitlines():
        try:
            row = json.loads(line)
            if not manifest.is_signed(row):
                break
            entry = manifest.entry_of(row["entry"])
            entry.info.check()
            finished[row["key"]] = {"entry": entry, "note": dict(row["note"])}
        # A line of an interrupted writer may hold anything.
        except Exception:
            break
    return finished
