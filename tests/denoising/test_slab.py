"""Slabs that fit in memory, and give the same result as the untiled volume."""

import jax
import numpy as np
import pytest
import tiny

from cpca_jax.denoising import slab
from cpca_jax.denoising.denoiser import Denoiser, denoise_volume
from cpca_jax.denoising.slab import fitting_slab, slab_bytes
from cpca_jax.training.experiment import build_networks
from cpca_jax.training.networks import init_generator
from cpca_jax.units import Window

SHAPE = (40, 40)


@pytest.fixture(scope="module", params=[1, 3, 7])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slab")
    networks = build_networks(tiny.configuration(folder, model__slices=request.param))
    params, _ = init_generator(networks, jax.random.key(0))
    return Denoiser("tiny", networks.generator, params, Window(-300.0, 300.0))


def test_the_slab_is_the_largest_that_fits(model):
    four = slab_bytes(model, SHAPE, 4)
    assert slab_bytes(model, SHAPE, 2) < four
    assert fitting_slab(model, SHAPE, free_bytes=four) == 4
    assert fitting_slab(model, SHAPE, free_bytes=four - 1) == 2
    assert fitting_slab(model, SHAPE, free_bytes=1) == 1


def test_a_cpu_takes_no_more_than_makes_it_quicker(model):
    most = 4 if model.slices == 1 else 8
    assert fitting_slab(model, SHAPE, free_bytes=2**40) == most


def test_the_hosts_memory_bounds_a_slab(model, tmp_path, monkeypatch):
    """A slab takes at most 0.4 of the available memory."""
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(slab, "_MEMINFO", meminfo)
    assert fitting_slab(model, SHAPE) >= 4  # the available memory is unknown
    meminfo.write_text("MemFree:  9999999 kB\nMemAvailable:  1 kB\n")
    assert fitting_slab(model, SHAPE) == 1
    kilobytes = slab_bytes(model, SHAPE, 2) / 0.4 / 1024
    meminfo.write_text(f"MemAvailable:  {int(kilobytes) + 1} kB\n")
    assert fitting_slab(model, SHAPE) == 2


@pytest.mark.parametrize("slab", [1, 2, 5])
def test_slabs_give_what_the_whole_volume_gives(model, slab):
    volume_hu = tiny.volume(1, 40.0)[:, :24, :24]
    whole = denoise_volume(model, volume_hu, batch=len(volume_hu))
    np.testing.assert_allclose(denoise_volume(model, volume_hu, batch=slab), whole, atol=1e-3)
