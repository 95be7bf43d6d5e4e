"""Denoising lies below training: a run is loaded and used without anything that trains."""

import json
import subprocess
import sys

import jax
import pytest
import tiny
from conftest import CHECKOUT

from cpca_jax.runs import config, saving
from cpca_jax.training.experiment import build_networks
from cpca_jax.training.networks import create_state
from cpca_jax.training.optim import optimisers

_DENOISE = """
import json, sys
import numpy as np
from cpca_jax.denoising.denoiser import load_run
volume = np.zeros((4, 24, 24), np.int16)
assert load_run(sys.argv[1]).denoise(volume).shape == volume.shape
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write a run with a CPCA-3 network and an unknown penalty, and return its folder."""
    folder = tmp_path_factory.mktemp("closure")
    experiment = tiny.configuration(folder, model__slices=3)
    networks = build_networks(experiment)
    state = create_state(networks, optimisers(experiment.optim), jax.random.key(0))
    written = json.loads(config.to_json(experiment))
    written["loss"]["penalty"] = "somebody's own"
    saving.save(folder / "run", state, json.dumps(written), about={}, keep=1)
    return folder / "run"


@pytest.fixture(scope="module")
def modules(run):
    command = [sys.executable, "-c", _DENOISE, str(run)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_volume_is_denoised_by_at_most_twenty_modules(modules):
    own = [name for name in modules if name.split(".")[0] == "cpca_jax"]
    assert len(own) <= 20, own


@pytest.mark.parametrize(
    "name", ["h5py", "optax", "pydicom", "matplotlib", "cpca_jax.training", "cpca_jax.objectives"]
)
def test_nothing_is_loaded_that_only_others_need(modules, name):
    assert name not in modules
