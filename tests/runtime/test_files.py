"""Files and folders that appear whole or not at all, and their permissions."""

import errno
import os
import stat

import pytest

from cpca_jax.errors import OutputError, StoreError, TakenError
from cpca_jax.runtime import files

posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def failing(code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "made" / "a.json"
    files.write_file(path, b"first")
    with pytest.raises(RuntimeError), files.whole_file(path) as stream:
        stream.write(b"half of the seco")
        raise RuntimeError
    assert path.read_bytes() == b"first"
    files.write_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    files.write_file(tmp_path / "a", b"x")
    assert order == ["fsync", "replace"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(
        OutputError, match=r"^a: cannot be written: No space left on device; free some space"
    ):
        files.write_file(tmp_path / "a", b"x")
    with (
        pytest.raises(StoreError, match=r"^a: cannot be written"),
        files.whole_path(tmp_path / "a", error=StoreError),
    ):
        pass
    with (
        pytest.raises(
            OutputError, match=r"^b: cannot be written: No space left on device; free some space"
        ),
        files.appearing(tmp_path / "b"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_path_keeps_its_ending_and_replaces_only_when_told(tmp_path):
    path = tmp_path / "a.nii.gz"
    with files.whole_path(path, replacing=False) as partial:
        assert partial.name.endswith(".nii.gz")
        partial.write_bytes(b"mine")
    with (
        pytest.raises(OutputError, match=r"a\.nii\.gz: cannot be written: File exists"),
        files.whole_path(path, replacing=False),
    ):
        pass
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


def test_without_hard_links_a_file_still_gets_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    with files.whole_path(tmp_path / "a", replacing=False) as partial:
        partial.write_bytes(b"mine")
    assert (tmp_path / "a").read_bytes() == b"mine"


@posix
def test_only_the_owner_reads_what_is_not_shared(tmp_path, usual_umask):
    files.write_file(tmp_path / "own", b"")
    files.write_file(tmp_path / "shared", b"", shared=True)
    assert (mode(tmp_path / "own"), mode(tmp_path / "shared")) == (0o600, 0o644)
    for name, shared in (("own folder", False), ("shared folder", True)):
        with files.appearing(tmp_path / name, shared=shared):
            pass
    assert (mode(tmp_path / "own folder"), mode(tmp_path / "shared folder")) == (0o700, 0o755)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    root = tmp_path / "above" / "out"
    with pytest.raises(RuntimeError), files.appearing(root) as folder:
        (folder / "a").touch()
        raise RuntimeError
    assert not list(root.parent.iterdir())
    root.mkdir()  # an empty one is used
    with files.appearing(root) as folder:
        (folder / "a").touch()
        assert not list(root.iterdir())
    assert [path.name for path in root.iterdir()] == ["a"]
    with pytest.raises(TakenError, match=r"^out: exists already"), files.appearing(root):
        pass
    with files.appearing(root, replacing=True) as folder:
        (folder / "b").touch()
        assert [path.name for path in root.iterdir()] == ["a"]
    assert [path.name for path in root.iterdir()] == ["b"]
    assert list(root.parent.iterdir()) == [root]


def test_an_empty_folder_is_used_on_windows_too(tmp_path, monkeypatch):
    rename = os.rename

    def as_windows(partial, root):
        if root.exists():
            raise FileExistsError(errno.EEXIST, "Cannot create a file when it already exists")
        rename(partial, root)

    monkeypatch.setattr(os, "rename", as_windows)
    root = tmp_path / "out"
    root.mkdir()
    with files.appearing(root) as folder:
        (folder / "a").touch()
    with pytest.raises(TakenError), files.appearing(root):
        pass
    assert [path.name for path in root.iterdir()] == ["a"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES])
def test_folders_that_cannot_be_synced_are_no_error(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "fsync", failing(code))
    files.sync(tmp_path)
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match=os.strerror(code)):
        files.sync(tmp_path / "a")


def test_a_disk_that_fails_to_sync_a_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        files.sync(tmp_path)
