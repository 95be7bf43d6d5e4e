"""Texts from outside are read whole: what is far too large, or no file, is refused before."""

import os
import re

import pytest

from cpca_jax.data.collections.sidecar import read_sidecar
from cpca_jax.data.collections.splits import _read as read_split_file
from cpca_jax.data.store import manifest
from cpca_jax.errors import ConfigError, InputError, StoreError, VolumeError, WeightsError
from cpca_jax.runtime.files import read_small
from cpca_jax.runtime.run_log import read_lines
from cpca_jax.training.conversion import _read_names as read_names
from cpca_jax.weights.torch_import import read_state

LARGE = 1 << 31
READERS = {
    "a.json": (VolumeError, lambda path: read_sidecar(path.parent, ("a",))),
    "split.json": (ConfigError, read_split_file),
    "names.json": (ConfigError, read_names),
    "manifest.json": (StoreError, lambda path: manifest.read(path.parent)),
    "train.jsonl": (InputError, read_lines),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_far_too_large_is_not_read(tmp_path, name):
    error, read = READERS[name]
    with (tmp_path / name).open("wb") as file:
        file.truncate(LARGE)  # takes no room on the disk
    with pytest.raises(error, match=rf"{name}: has more than \d+ bytes"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"train.jsonl"}))
def test_a_nesting_of_thousands_is_refused(tmp_path, name):
    error, read = READERS[name]
    (tmp_path / name).write_text("[" * 100_000)
    with pytest.raises(error, match=re.escape(name)):
        read(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "train.jsonl")
    with pytest.raises(InputError, match=r"train\.jsonl: is a pipe or a device"):
        read_lines(tmp_path / "train.jsonl")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_weights_that_are_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    (tmp_path / "b.npz").mkdir()
    for name, what in (("a", "a pipe or a device"), ("b", "a folder")):
        with pytest.raises(WeightsError, match=rf"{name}\.npz: is {what}, must be a file"):
            read_state(tmp_path / f"{name}.npz")


def test_the_limit_itself_may_be_reached(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_small(tmp_path / "a", error=InputError, most=5) == b"12345"
    with pytest.raises(InputError, match="a: has more than 4 bytes"):
        read_small(tmp_path / "a", error=InputError, most=4)
