"""Inputs that the system does not let the program read."""

import errno
import os

import pytest
import tiny

from cpca_jax.data import listing
from cpca_jax.data.store.reader import open_store
from cpca_jax.errors import ScanError, StoreError


def forbid(monkeypatch, name):
    """Let nobody list the folders of this name."""
    scan = os.scandir

    def forbidding(path):
        if os.path.basename(path) == name:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", forbidding)


def test_a_folder_that_cannot_be_read_is_named_and_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / "a" / "closed").mkdir(parents=True)
    forbid(monkeypatch, "closed")
    with pytest.raises(ScanError, match=r"^closed: cannot be read: Permission denied; ask for"):
        listing.list_files(tmp_path)
    assert listing.list_files(tmp_path / "none").paths == ()


def test_folders_of_the_system_at_the_top_of_a_disk_stop_nothing(tmp_path, monkeypatch):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "a").write_bytes(b"")
    forbid(monkeypatch, "lost+found")
    assert listing.list_files(tmp_path).paths == (tmp_path / "a",)


def test_an_array_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    store = tiny.write_store(tmp_path / "store")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("numpy.load", refuse)
    with pytest.raises(StoreError, match=r"phantom-000\.low\.npy: cannot be read: Permission"):
        open_store(store)
