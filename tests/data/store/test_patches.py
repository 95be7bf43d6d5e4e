"""The sampler: a function of (seed, step), true neighbours, no air."""

import dataclasses
import time

import numpy as np
import pytest
import tiny

from cpca_jax.data.store.patches import PatchSampler, PatchSpec, Places, prefetch, stack_draws
from cpca_jax.data.store.reader import open_store
from cpca_jax.errors import StoreError


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    root = tiny.write_store(tmp_path_factory.mktemp("patches") / "store", ("train", "train"))
    return open_store(root).series


def test_the_same_seed_and_step_give_the_same_patches(series):
    spec = PatchSpec(16, 3)
    one, two = (PatchSampler(series, spec).draw(5, 70, 9) for _ in range(2))
    np.testing.assert_array_equal(one.low, two.low)
    for other in [(6, 70, 0), (5, 71, 0), (5, 70, 1)]:
        seed, step, stream = other
        changed = PatchSampler(series, spec).draw(seed, step, 9, stream=stream)
        assert (changed.full != one.full).any()


def test_patches_are_cut_where_they_say(series):
    """The centre slice of the slab and the full-dose patch come from the same place."""
    spec = PatchSpec(16, 5)
    patches = PatchSampler(series, spec).draw(0, 0, 20)
    assert patches.low.shape == (20, 5, 16, 16)
    assert patches.low.dtype == patches.full.dtype == np.int16
    found = 0
    for slab, full in zip(*patches, strict=True):
        for one in series:
            for z in range(2, len(one.full) - 2):
                for y, x in np.argwhere(one.full[z, :25, :25] == full[0, 0, 0]):
                    if np.array_equal(one.full[z, y : y + 16, x : x + 16], full[0]):
                        want = one.low[z - 2 : z + 3, y : y + 16, x : x + 16]
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
    sampler = PatchSampler(series, PatchSpec(16, 3))
    stacked = sampler.cut(stack_draws(sampler.places(0, 0, 6), 3))
    assert stacked.low.shape == (3, 2, 3, 16, 16)
    np.testing.assert_array_equal(stacked.full[2, 1], sampler.draw(0, 0, 6).full[5])


def test_a_share_of_the_places_gives_that_share_of_the_patches(series):
    """Each of several hosts cuts only its share."""
    sampler = PatchSampler(series, PatchSpec(16, 3, air_fraction=0.6, augmentation="dihedral"))
    places, patches = sampler.places(0, 0, 12), sampler.draw(0, 0, 12)
    share = sampler.cut(Places(*(array[4:7] for array in places)))
    np.testing.assert_array_equal(share.low, patches.low[4:7])
    np.testing.assert_array_equal(share.full, patches.full[4:7])


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


def test_a_patch_may_have_several_centres(series):
    """The full-dose slices lie in the middle of the slab, at the same place in plane."""
    spec = PatchSpec(16, 3, centres=3)
    patches = PatchSampler(series, spec).draw(0, 0, 6)
    assert patches.low.shape == (6, 5, 16, 16)
    assert patches.full.shape == (6, 3, 16, 16)
    for slab, full in zip(*patches, strict=True):
        # The tiny store's two doses differ by independent noise of 40 and 20 HU only.
        spread = [np.std(slab[k : k + 3].astype(float) - full) for k in range(3)]
        assert np.std(slab[1:4].astype(float) - full) < 60
        assert np.argmin(spread) == 1 or min(spread) > 0.8 * spread[1]


@pytest.mark.parametrize("name", ["flips", "dihedral"])
def test_augmentation_turns_both_doses_alike(series, name):
    plain = PatchSampler(series, PatchSpec(16, 3)).draw(3, 4, 64)
    turned = PatchSampler(series, PatchSpec(16, 3, augmentation=name)).draw(3, 4, 64)
    seen = set()
    for before, slab, full in zip(plain.low, turned.low, turned.full, strict=True):
        ways = {
            (y, x, k): np.rot90(before[:, :: 1 - 2 * y, :: 1 - 2 * x], k, axes=(1, 2))
            for y in (0, 1)
            for x in (0, 1)
            for k in (0, 1)
        }
        way = next(w for w, moved in ways.items() if np.array_equal(moved, slab))
        seen.add(way)
        y, x, k = way
        own = plain.full[[np.array_equal(before, q) for q in plain.low]][0]
        np.testing.assert_array_equal(
            full, np.rot90(own[:, :: 1 - 2 * y, :: 1 - 2 * x], k, axes=(1, 2))
        )
    assert len(seen) == (4 if name == "flips" else 8)


def test_a_restricted_sampler_draws_from_its_slices_only(series):
    sampler = PatchSampler(series, PatchSpec(16, 1)).restricted([(1, 2), (0, 5)])
    allowed = {series[1].full[2].tobytes(), series[0].full[5].tobytes()}
    wanted = [np.frombuffer(a, np.int16).reshape(40, 40) for a in allowed]
    for full in sampler.draw(0, 0, 12).full[:, 0]:
        views = [np.lib.stride_tricks.sliding_window_view(w, (16, 16)) for w in wanted]
        assert any((v == full).all(axis=(2, 3)).any() for v in views)
    with pytest.raises(StoreError, match="none of 1 chosen slices has 4 regular neighbours"):
        PatchSampler(series, PatchSpec(16, 5)).restricted([(0, 0)])
