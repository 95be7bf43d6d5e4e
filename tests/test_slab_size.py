"""Slabs that fit in memory, and give what the untiled volume gives."""

import jax
import numpy as np
import pytest
import tiny

from cpca_jax.denoiser import TrainedModel, denoise_volume
from cpca_jax.experiment import build_networks
from cpca_jax.slab_size import fitting_slab, slab_bytes
from cpca_jax.state import init_generator
from cpca_jax.units import Window

SHAPE = (40, 40)


@pytest.fixture(scope="module", params=[1, 3, 7])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slab")
    networks = build_networks(tiny.configuration(folder, model__slices=request.param))
    params = init_generator(networks, jax.random.key(0))
    return TrainedModel("tiny", networks, params, Window(-300.0, 300.0))


def test_the_slab_is_the_largest_that_fits(model):
    eight = slab_bytes(model, SHAPE, 8)
    assert slab_bytes(model, SHAPE, 4) < eight
    assert fitting_slab(model, SHAPE, free_bytes=int(eight / 0.8) + 1) == 8
    assert fitting_slab(model, SHAPE, free_bytes=int(eight / 0.8) - 1) == 4
    assert fitting_slab(model, SHAPE, free_bytes=1) == 1
    assert fitting_slab(model, SHAPE, free_bytes=2**40) == 32


def test_a_cpu_takes_four(model):
    assert fitting_slab(model, SHAPE) == 4


@pytest.mark.parametrize("slab", [1, 2, 5])
def test_slabs_give_what_the_whole_volume_gives(model, slab):
    volume_hu = tiny.volume(1, 40.0)[:, :24, :24]
    whole = denoise_volume(model, volume_hu, batch=len(volume_hu))
    np.testing.assert_allclose(denoise_volume(model, volume_hu, batch=slab), whole, atol=1e-3)
