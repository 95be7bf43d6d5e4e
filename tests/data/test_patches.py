"""The sampler: a function of (seed, step), true neighbours, no air."""

import dataclasses
import time

import numpy as np
import pytest
import tiny

from cpca_jax.data.patches import PatchSampler, PatchSpec, prefetch, stack_draws
from cpca_jax.data.store import open_store
from cpca_jax.errors import StoreError


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    root = tiny.write_store(tmp_path_factory.mktemp("patches") / "store", ("train", "train"))
    return open_store(root).series


def test_the_same_seed_and_step_give_the_same_patches(series):
    spec = PatchSpec(16, 3)
    one, two = (PatchSampler(series, spec).draw(5, 70, 9) for _ in range(2))
    np.testing.assert_array_equal(one.quarter, two.quarter)
    for other in [(6, 70, 0), (5, 71, 0), (5, 70, 1)]:
        seed, step, stream = other
        changed = PatchSampler(series, spec).draw(seed, step, 9, stream=stream)
        assert (changed.full != one.full).any()


def test_patches_are_cut_where_they_say(series):
    """The centre slice of the slab and the full-dose patch come from the same place."""
    spec = PatchSpec(16, 5)
    patches = PatchSampler(series, spec).draw(0, 0, 20)
    assert patches.quarter.shape == (20, 5, 16, 16)
    assert patches.quarter.dtype == patches.full.dtype == np.int16
    found = 0
    for slab, full in zip(*patches, strict=True):
        for one in series:
            for z in range(2, len(one.full) - 2):
                for y, x in np.argwhere(one.full[z, :25, :25] == full[0, 0, 0]):
                    if np.array_equal(one.full[z, y : y + 16, x : x + 16], full[0]):
                        want = one.quarter[z - 2 : z + 3, y : y + 16, x : x + 16]
                        found += np.array_equal(want, slab)
    assert found == 20


def test_patches_of_air_are_drawn_again(series):
    kept = PatchSampler(series, PatchSpec(16, 1, air_fraction=0.6)).draw(0, 0, 200)
    free = PatchSampler(series, PatchSpec(16, 1, air_fraction=1.1)).draw(0, 0, 200)
    shares = [np.mean(p.full <= -500, axis=(1, 2, 3)) for p in (kept, free)]
    assert shares[0].max() < 0.6
    assert shares[1].max() >= 0.6


def test_a_store_of_nothing_but_air_ends_all_the_same(series):
    air = dataclasses.replace(series[0], full=np.full_like(series[0].full, -1000))
    assert len(PatchSampler([air], PatchSpec(16, 1)).draw(0, 0, 4).full) == 4


def test_single_slices_have_no_neighbours(series):
    apart = dataclasses.replace(series[0], positions_mm=tuple(10.0 * k**2 for k in range(7)))
    assert len(PatchSampler([apart], PatchSpec(16, 1)).draw(0, 0, 4).full) == 4
    with pytest.raises(StoreError, match="no slice of phantom-000 has 2 regular neighbours"):
        PatchSampler([apart], PatchSpec(16, 3))


def test_slices_smaller_than_the_patch_are_refused(series):
    with pytest.raises(StoreError, match=r"smaller than data.patch = 64"):
        PatchSampler(series, PatchSpec(64, 1))


def test_draws_are_stacked_in_order(series):
    patches = PatchSampler(series, PatchSpec(16, 3)).draw(0, 0, 6)
    stacked = stack_draws(patches, 3)
    assert stacked.quarter.shape == (3, 2, 3, 16, 16)
    np.testing.assert_array_equal(stacked.full[2, 1], patches.full[5])


def test_prefetch_keeps_the_order_and_works_ahead():
    made = []

    def make(step):
        made.append(step)
        return step * 10

    items = prefetch(make, 3, 9, ahead=2)
    assert next(items) == 30
    time.sleep(0.1)
    assert made[:2] == [3, 4]
    assert list(items) == [40, 50, 60, 70, 80]


def test_prefetch_passes_errors_on():
    def broken(step):
        raise StoreError(f"step {step}")

    with pytest.raises(StoreError, match="step 0"):
        list(prefetch(broken, 0, 3))
