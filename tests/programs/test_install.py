"""The package in a fresh environment, away from its checkout: README, "From anywhere"."""

import os
import subprocess
import sys

import pytest
from conftest import CHECKOUT

pytestmark = [pytest.mark.slow_install, pytest.mark.timeout(1800)]

TEN_LINES = """
import cpca_jax as cpca
import numpy as np

def small(config):
    config.data.patch, config.data.batch = 20, 2
    config.critic.fields.features, config.critic.fields.dense = (2, 2, 4, 4, 4, 4), 8
    config.perceptual.network, config.perceptual.tap = "random", "relu1_2"
    config.train.steps_per_epoch, config.train.validation_slices = 2, 2
    return config

store = cpca.make_phantoms("store", count=3, slices=8, size=128)
flat = cpca.train(small(cpca.config("cpca1:cpu", store=store, steps=2)), "runs/flat")
tuned = small(cpca.config("cpca3_transfer:cpu", store=store, run=flat, steps=2))
deep = cpca.train(tuned, "runs/deep")
volume_hu = np.zeros((5, 64, 64), np.int16)
clean = cpca.load_run(deep).denoise(volume_hu)
assert clean.shape == volume_hu.shape
print(cpca.evaluate([flat, deep], store, protocol="deck", slices=1))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return a virtual environment with the package, and a folder to work in."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", CHECKOUT], check=True, cwd=folder)
    (folder / "work").mkdir()
    return folder


def run(environment, program, *arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [environment / "venv" / "bin" / program, *map(str, arguments)],
        cwd=environment / "work",
        env=clean | {"XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_ten_lines(environment):
    result = run(environment, "python", "-c", TEN_LINES)
    assert result.returncode == 0, result.stderr
    for row in ("low dose", "flat", "deep"):
        assert row in result.stdout


def test_the_command(environment):
    listed = run(environment, "cpca", "--help")
    assert "  reproduce  " in listed.stdout
    shown = run(environment, "cpca", "train", "--help").stdout
    assert shown.startswith("usage: cpca train ")
    assert "  cpca3_transfer " in shown
    refused = run(environment, "cpca", "train", "--config=cpca1:gpu", "--workdir=run")
    assert refused.returncode == 2
    assert "'gpu' is not one of its variants deck, cpu" in refused.stderr


def test_it_is_typed_and_has_no_broken_jax(environment):
    program = (
        "import importlib.metadata, pathlib, cpca_jax\n"
        "folder = pathlib.Path(cpca_jax.__file__).parent\n"
        "assert (folder / 'py.typed').exists()\n"
        "assert (folder / 'configs' / 'deck.py').exists()\n"
        "print(folder, importlib.metadata.version('jax'))\n"
    )
    folder, version = run(environment, "python", "-c", program).stdout.split()
    assert folder.startswith(str(environment))
    assert version not in {"0.10.2", "0.11.0", "0.11.1"}
    if sys.version_info < (3, 12):
        assert version == "0.10.1"


def test_an_editable_install_uses_the_checkout(environment):
    """This test comes last, because it replaces the other installation."""
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--editable", CHECKOUT)
    assert run(environment, "python", *install).returncode == 0
    program = "import cpca_jax.configs.deck as deck; print(deck.__file__)"
    found = run(environment, "python", "-c", program).stdout.strip()
    assert found == str(CHECKOUT / "configs" / "deck.py")
    assert "  cpca3_transfer " in run(environment, "cpca", "train", "--help").stdout
