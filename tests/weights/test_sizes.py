"""Weights whose file is small and whose arrays are not: refused before anything is unpacked."""

import h5py
import numpy as np
import pytest

from cpca_jax.errors import WeightsError
from cpca_jax.models.vgg import Architecture
from cpca_jax.weights.array_files import Budget
from cpca_jax.weights.torch_import import read_state
from cpca_jax.weights.vgg_files import read_arrays

NARROW = Architecture("narrow", convolutions=(1, 1), widths=(4, 4))


def test_an_npz_is_judged_before_it_is_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", big=np.zeros(4 << 20, np.float32))
    assert (tmp_path / "a.npz").stat().st_size < 1 << 17
    with pytest.raises(WeightsError, match=r"a\.npz: its arrays take \d+ bytes or more"):
        read_arrays(tmp_path / "a.npz", NARROW)
    with pytest.raises(WeightsError, match=r"a\.npz: its arrays take \d+ bytes or more"):
        read_state(tmp_path / "a.npz")


def test_a_keras_file_may_not_claim_what_it_does_not_hold(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (1 << 30,), "f4", chunks=(1 << 16,), compression="gzip")
    with pytest.raises(WeightsError, match="x claims 4294967296 bytes and stores 0"):
        read_arrays(tmp_path / "a.h5", NARROW)


def test_a_keras_file_may_not_keep_its_numbers_elsewhere(tmp_path):
    (tmp_path / "raw").write_bytes(b"\0" * 400)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (100,), "f4", external=[(str(tmp_path / "raw"), 0, 400)])
    with pytest.raises(WeightsError, match="x lies in another file"):
        read_arrays(tmp_path / "a.h5", NARROW)


def test_a_budget_counts_all_arrays_together():
    budget = Budget(1 << 20)
    budget.take(3 << 20)
    budget.take(2 << 20)
    with pytest.raises(WeightsError, match="must take 5242880 at most"):
        budget.take(1)
