"""Freed memory stays with the program, unless its user has chosen otherwise."""

import platform
import subprocess
import sys

import pytest
from conftest import CHECKOUT

from cpca_jax.runtime import memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
# Page faults of an array of 200 MB that is taken a second time.
AGAIN = """
import resource, sys
import numpy as np
from cpca_jax.runtime import memory
if sys.argv[1] == "kept":
    assert memory.keep_freed({})
np.ones(25_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(25_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    command = [sys.executable, "-c", AGAIN, how]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@glibc
def test_memory_is_taken_from_the_system_once():
    assert faults("kept") < 10
    assert faults("given back") > 50  # else the test shows nothing


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_ARENA_MAX"])
def test_a_users_own_choice_is_respected(name):
    assert not memory.keep_freed({name: ""})


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not memory.keep_freed({})


def test_programs_keep_it(monkeypatch):
    """The setting is made before any of a program's own code runs."""
    from cpca_jax.programs import launch

    order = []
    monkeypatch.setattr(memory, "keep_freed", lambda environment: order.append("kept"))
    program = launch.Program("A program.")
    monkeypatch.setattr(program, "parse", lambda arguments: order.append("flags"))
    with pytest.raises(SystemExit):
        launch.run(program, lambda: order.append("main"))
    assert order == ["kept", "flags", "main"]
