"""Patches cut on the device are those cut on the host."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny

from cpca_jax.data.store import resident
from cpca_jax.data.store.patches import PatchSampler, PatchSpec, stack_draws
from cpca_jax.data.store.reader import open_store


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    root = tiny.write_store(tmp_path_factory.mktemp("resident") / "store", ("train", "train"))
    first, second = open_store(root).series
    smaller = {name: getattr(second, name)[:, :30, :35] for name in ("low", "full")}
    return first, dataclasses.replace(second, **smaller)


@pytest.mark.parametrize("spec", [
    PatchSpec(16, 1, air_fraction=0.6),
    PatchSpec(16, 3, air_fraction=0.5, augmentation="dihedral"),
    PatchSpec(16, 3, centres=3, augmentation="flips"),
    PatchSpec(16, 1, air_hu=3000.0),  # nothing but air
])  # fmt: skip
def test_patches_equal_the_hosts(series, spec):
    sampler = PatchSampler(series, spec)
    places = stack_draws(sampler.places(1, 2, 60), 3)
    wanted = sampler.cut(places)
    volumes = resident.stack_volumes(series)
    low, full = jax.jit(resident.cut, static_argnums=2)(volumes, places, spec)
    np.testing.assert_array_equal(low, wanted.low)
    np.testing.assert_array_equal(full, wanted.full)
    assert low.dtype == np.int16
