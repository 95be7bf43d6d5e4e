"""The front door `import cpca_jax`: quick, without JAX, with the names that its page promises."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
import tiny
from conftest import CHECKOUT

import cpca_jax as cpca
from cpca_jax.errors import CheckpointError, ConfigError

HEAVY = ("jax", "numpy", "flax", "optax", "orbax", "pydicom", "h5py", "matplotlib", "rich", "absl")


def python(program):
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_import_is_quick_and_light():
    program = (
        "import sys, time\n"
        "start = time.perf_counter()\n"
        "import cpca_jax\n"
        "print(time.perf_counter() - start)\n"
        f"assert not set({HEAVY!r}) & set(sys.modules)\n"
        "dir(cpca_jax), cpca_jax.__version__\n"
        f"assert not set({HEAVY!r}) & set(sys.modules)\n"
    )
    assert min(float(python(program)) for _ in range(3)) < 0.3


def test_every_name_is_there_and_listed():
    for name in cpca.__all__:
        assert getattr(cpca, name).__doc__, name
        assert name in dir(cpca)
    assert sorted(cpca.__all__) == sorted(cpca._PLACES)
    with pytest.raises(AttributeError, match="no attribute 'penalty'"):
        cpca.penalty  # noqa: B018


def test_a_name_is_the_same_before_and_after_its_module_was_imported():
    """A subpackage of the same name would replace it."""
    for name in cpca.__all__:
        before = getattr(cpca, name)
        for package in (CHECKOUT / "cpca_jax").glob("*/__init__.py"):
            importlib.import_module(f"cpca_jax.{package.parent.name}")
        assert getattr(cpca, name) is before


def small(config):
    config.data.patch, config.data.batch = 20, 2
    config.critic.fields.features = (2, 2, 4, 4, 4, 4)
    config.critic.fields.dense = 8
    config.perceptual.network, config.perceptual.tap = "random", "relu1_2"
    config.train.steps_per_epoch, config.train.validation_slices = 2, 2
    config.model.fields.features = 4
    config.compute.devices = 1
    return config


@pytest.mark.slow
def test_the_example(tmp_path):
    """The example of `cpca_jax.api` and of the README works, at a size of seconds."""
    store = tiny.write_store(tmp_path / "store")
    flat = cpca.train(small(cpca.config("cpca1:cpu", store=store, steps=2)), tmp_path / "flat")
    transfer = small(cpca.config("cpca3_transfer:cpu", store=store, run=flat, steps=2))
    deep = cpca.train(transfer, str(tmp_path / "deep"))
    volume_hu = tiny.volume(3, 40.0)
    denoiser = cpca.load_run(deep)
    clean = denoiser.denoise(volume_hu)
    assert clean.shape == volume_hu.shape and clean.dtype == np.float32
    assert denoiser.slices == 3
    table = cpca.evaluate([flat, deep], store, protocol="full", slices=1)
    for shown in ("low dose", "flat", "deep", "4096"[:2]):
        assert shown in str(table)
    assert [row.method for row in table.rows] == ["low dose", "flat", "deep"]
    kept = cpca.evaluate([flat], store, slices=1, output=tmp_path / "out")
    assert (tmp_path / "out" / "table.md").read_text().strip() in str(kept).strip()


def test_phantoms(tmp_path):
    store = cpca.make_phantoms(tmp_path / "store", count=2, slices=3, size=64)
    assert (store / "manifest.json").exists()


def test_what_is_wrong_is_said_in_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'cpca1'"):
        cpca.config("cpca11")
    with pytest.raises(ConfigError, match=r"config\.data\.store: empty"):
        cpca.train(cpca.config("demo"), tmp_path / "run")
    with pytest.raises(CheckpointError, match="none"):
        cpca.load_run(tmp_path / "none")


def test_broken_versions_of_jax_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.10.2")
    with pytest.raises(cpca.errors.InputError, match=r"jax 0\.10\.2 is known"):
        cpca.train(cpca.config("demo"), tmp_path / "run")
