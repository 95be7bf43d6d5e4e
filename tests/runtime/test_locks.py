"""One holder of a lock; it ends with its process; without locks work goes on."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest
from conftest import CHECKOUT

from cpca_jax.errors import InputError, StoreError
from cpca_jax.runtime import locks

HOLDER = """
import pathlib, sys, time
from cpca_jax.runtime import locks
with locks.hold(pathlib.Path(sys.argv[1]), "run", "is taken"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_refused_until_the_holder_is_gone(tmp_path, holder):
    lock = tmp_path / ".lock"
    with (
        pytest.raises(StoreError, match=r"^out: is being written$"),
        locks.hold(lock, "out", "is being written", error=StoreError),
    ):
        pass
    assert lock.exists()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locks.hold(lock, "out", "is being written"):
        assert lock.exists()  # what the killed process left does no harm
    assert not lock.exists()


def test_a_second_holder_in_the_same_process_is_refused(tmp_path):
    lock = tmp_path / ".lock"
    with locks.hold(lock, "run", "is taken"):
        with (
            pytest.raises(InputError, match=r"^run: is taken$"),
            locks.hold(lock, "run", "is taken"),
        ):
            pass
        with (
            pytest.raises(InputError, match=r"^run: is taken$"),
            locks.hold(lock, "run", "is taken"),
        ):
            pass
    with locks.hold(lock, "run", "is taken"):
        pass


def test_it_is_given_back_after_an_error(tmp_path):
    lock = tmp_path / ".lock"
    with pytest.raises(RuntimeError), locks.hold(lock, "run", "is taken"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", ["ENOLCK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EBADF"])
def test_without_locks_it_is_said_once_and_work_goes_on(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(getattr(errno, code), "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locks, "_said", set())
    said, done = [], []
    for name in ("a", "b"):
        with locks.hold(tmp_path / name, "run", "another training is running", say=said.append):
            done.append(name)
    assert done == ["a", "b"]
    assert said == [
        "warning: run: its file system has no locks; make sure that no second process writes there"
    ]
    assert not list(tmp_path.iterdir())


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"^run: cannot be written: "),
        locks.hold(tmp_path / "file" / ".lock", "run", "is taken"),
    ):
        pass
