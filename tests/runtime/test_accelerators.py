"""An accelerator that JAX leaves unused is said; a platform that it lacks is refused."""

import os
import subprocess
import sys

import pytest
from conftest import CHECKOUT

from cpca_jax.runtime import accelerators


@pytest.mark.parametrize(
    ("file", "said"),
    [("nvidia0", "an NVIDIA GPU"), ("kfd", "an AMD GPU"), ("accel0", "a TPU"), ("vfio/0", "a TPU")],
)
def test_an_unused_accelerator_is_said(tmp_path, file, said):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    line = accelerators.unused({}, devices=tmp_path)
    assert line.startswith(f"warning: {said} is there")
    assert "install" in line
    assert "\n" not in line


def test_a_hidden_gpu_is_said_to_be_hidden(tmp_path):
    (tmp_path / "nvidia0").touch()
    line = accelerators.unused({"CUDA_VISIBLE_DEVICES": ""}, devices=tmp_path)
    assert "CUDA_VISIBLE_DEVICES is '' and hides it" in line


def test_nothing_is_said_where_nothing_is_unused(tmp_path):
    assert accelerators.unused({}, devices=tmp_path) is None
    (tmp_path / "nvidia0").touch()
    assert accelerators.check({"JAX_PLATFORMS": "cpu"}, devices=tmp_path) is None


@pytest.mark.parametrize("platform", ["cuda", "gpuu"])
def test_a_platform_that_jax_lacks_is_one_sentence(tmp_path, platform):
    command = [sys.executable, "evaluate.py", "--store", tmp_path, "--output", tmp_path / "out"]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=os.environ | {"JAX_PLATFORMS": platform, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: JAX_PLATFORMS is '{platform}'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "device", "expected"),
    [
        ({}, None, True),
        ({}, "nvidia0", False),
        ({"JAX_PLATFORMS": "cpu"}, "nvidia0", True),
        ({"JAX_PLATFORMS": "cuda"}, "nvidia0", False),
    ],
)
def test_where_it_computes_on_the_cpu(tmp_path, environment, device, expected):
    if device:
        (tmp_path / device).touch()
    assert accelerators.on_cpu({"PATH": "", **environment}, devices=tmp_path) is expected
