"""Writing a store so that it appears complete or not at all."""

import contextlib
import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from cpca_jax.data import manifest
from cpca_jax.data.manifest import ArrayFile, SeriesInfo
from cpca_jax.errors import StoreError
from cpca_jax.types import VolumeHU


class StoreWriter:
    """Writes a new store: all of it, or nothing.

    A context manager. Series go to a folder beside the store's, which gets its name only when
    everything is on disk; on an error it is removed. Only the owner may enter the folder
    (mode 0700), because it holds images of patients.
    """

    def __init__(self, root: Path, *, source: Path | None = None) -> None:
        """Check where the store is to be.

        Args:
            root: the store's folder; must not exist, or be empty.
            source: the folder that is read, if any; the store may not lie in it.

        Raises:
            StoreError: `root` is taken, a link, or within `source`.
        """
        self.root = Path(os.path.abspath(root))
        if self.root.is_symlink() or (self.root.exists() and not self.root.is_dir()):
            raise StoreError(f"{self.root.name}: is not a folder, --output must be a new one")
        if self.root.exists() and any(self.root.iterdir()):
            raise StoreError(f"{self.root.name}: is not empty, --output must be a new folder")
        if source and self.root.resolve().is_relative_to(source.resolve()):
            raise StoreError(f"{self.root.name}: lies in the input, --output must be outside it")
        self._entries: list[manifest.Entry] = []
        self._partial = self.root

    def __enter__(self) -> "StoreWriter":
        with self._disk_errors():
            self.root.parent.mkdir(parents=True, exist_ok=True)
            prefix = f".{self.root.name}."
            partial = tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=self.root.parent)
        self._partial = Path(partial)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def add(
        self,
        info: SeriesInfo,
        quarter: VolumeHU,
        full: VolumeHU,
        *,
        quarter_sources: Sequence[str] = (),
        full_sources: Sequence[str] = (),
    ) -> None:
        """Write one series.

        Args:
            info: what is known about it.
            quarter: low dose, int16 HU (z y x).
            full: the same slices at full dose.
            quarter_sources: digests of the slices' identifiers.
            full_sources: likewise.

        Raises:
            StoreError: fields or shapes that cannot be right, or the disk does not take it.
        """
        info.check()
        if quarter.shape != full.shape or len(full) != len(info.positions_mm):
            shapes = f"{quarter.shape}, {full.shape} and {len(info.positions_mm)} positions"
            raise StoreError(f"{info.name}: quarter, full and positions_mm do not fit: {shapes}")
        manifest.check_together([*(entry.info for entry in self._entries), info])
        arrays = [
            self._write(f"{info.name}.{dose}.npy", volume, tuple(sources))
            for dose, volume, sources in (
                ("quarter", quarter, quarter_sources),
                ("full", full, full_sources),
            )
        ]
        self._entries.append(manifest.Entry(info, *arrays))

    def assign_splits(self, splits: Mapping[str, str]) -> None:
        """Replace the splits of all series added so far.

        For drivers that know only after reading everything which patients are usable.

        Args:
            splits: split of each patient; all patients must be there.
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
                stream.flush()
                os.fsync(stream.fileno())
            return ArrayFile(file, file_digest(path), sources)

    def _finish(self) -> None:
        if not self._entries:
            raise StoreError(f"{self.root.name}: nothing to store, no store was made")
        text = manifest.as_json(self._entries)
        with self._disk_errors():
            with (self._partial / manifest.NAME).open("w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            _sync_folder(self._partial)
            os.rename(self._partial, self.root)  # replaces an empty folder, never a full one
            _sync_folder(self.root.parent)

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StoreError(f"{self.root.name}: cannot be written: {reason}") from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
