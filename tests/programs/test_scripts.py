"""The commands as a user types them: help, bad input in one line with exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import tiny
from conftest import CHECKOUT

from cpca_jax.errors import InputError
from cpca_jax.programs import launch

SCRIPTS = [
    "train.py",
    "evaluate.py",
    "prepare.py",
    "denoise.py",
    "reproduce.py",
    "convert.py",
    "demo.py",
]


def call(*arguments, cwd=CHECKOUT, **environment):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"XDG_CACHE_HOME": "/nonexistent-cache", "XLA_FLAGS": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def refused(result, *said):
    """Exit code 2 and one line that says it, without a traceback."""
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for part in said:
        assert part in lines[0]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny.write_store(tmp_path_factory.mktemp("scripts") / "store")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_how_to_call_it(script):
    result = call(script, "--help")
    assert result.returncode == 0
    assert script in result.stdout
    assert "--" in result.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_stay_small(script):
    assert len((CHECKOUT / script).read_text().splitlines()) <= 55


def test_an_unknown_configuration_key_is_one_line(tmp_path):
    arguments = ("--config", "configs/cpca1.py", "--workdir", tmp_path / "run")
    refused(call("train.py", *arguments, "--config.train.stepz=3"), "stepz")
    assert not (tmp_path / "run").exists()


def test_a_missing_configuration_file_or_flag_is_one_line(tmp_path):
    refused(call("train.py", "--config", "configs/none.py", "--workdir", tmp_path / "r"), "none.py")
    refused(call("train.py", "--config", "configs/cpca1.py"), "--workdir is missing")
    refused(call("evaluate.py", "--stores", "x"), "stores")
    refused(call("evaluate.py", "stray"), "'stray' is not a flag")


def test_a_missing_store_is_one_line(tmp_path):
    run = tmp_path / "run"
    arguments = ("train.py", "--config", "configs/demo.py", "--workdir", run)
    refused(call(*arguments), "config.data.store: empty", "prepare.py")
    refused(call(*arguments, f"--config.data.store={tmp_path / 'none'}"), "none")
    assert not run.exists()
    output = tmp_path / "out"
    refused(call("evaluate.py", "--store", tmp_path / "none", "--output", output), "none")
    assert not output.exists()


def test_an_address_is_not_taken_for_a_folder(tmp_path):
    """Path("gs://bucket") is the local folder "gs:"."""
    told = "must be a folder or a file; a bucket can be mounted as one (docs/scaling.md)"
    runs = call(
        CHECKOUT / "evaluate.py", "--runs=a,gs://bucket/b", "--store=s", "--output=o", cwd=tmp_path
    )
    refused(runs, f"--runs: 'gs://bucket/b' {told}")
    config = ("--config", CHECKOUT / "configs/cpu.py", "--workdir", tmp_path / "run")
    store = call("train.py", *config, "--config.data.store=s3://bucket/store")
    refused(store, f"config.data.store: 's3://bucket/store' {told}")
    assert not list(tmp_path.iterdir())


def test_missing_vgg19_weights_are_one_line(store, tmp_path):
    run = tmp_path / "run"
    chosen = ("--config", "configs/cpca1.py", f"--config.data.store={store}")
    small = ("--config.data.patch=20", "--config.data.batch=2")
    refused(call("train.py", *chosen, *small, "--workdir", run), "VGG19", "vgg16")
    assert not run.exists()


def test_bad_dicom_input_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    for source in ("empty", "none"):
        arguments = ("--input", tmp_path / source, "--output", tmp_path / "store")
        refused(call("prepare.py", *arguments), source)
    assert not list(tmp_path.glob("*store*"))
    refused(call("prepare.py", "--output", tmp_path / "store"), "--input and --phantom")


@pytest.mark.parametrize("version", ["0.10.2", "0.11.0", "0.11.1"])
def test_a_jax_that_miscomputes_is_refused(version):
    with pytest.raises(InputError, match=f"jax {version} is known to compute wrong numbers"):
        launch.refuse_broken_jax(version)
    launch.refuse_broken_jax(jax.__version__)


def test_debug_shows_the_traceback(tmp_path):
    result = call("evaluate.py", "--store", tmp_path / "none", "--output", tmp_path, "--debug")
    assert result.returncode == 2
    assert "Traceback" in result.stderr


@pytest.mark.slow
def test_the_whole_path_by_commands(store, tmp_path):
    """train, transfer, evaluate on a small store, with VGG16's real weights, from anywhere."""
    sizes = ["--config.data.patch=20", "--config.data.batch=2", "--config.train.steps=2"]
    sizes += ["--config.train.steps_per_epoch=2", f"--config.data.store={store}"]
    train = CHECKOUT / "train.py"
    flat, deep = tmp_path / "flat", tmp_path / "deep"
    demo = CHECKOUT / "configs" / "demo.py"
    here = {"cwd": tmp_path, "PYTHONPATH": str(CHECKOUT)}
    for command in (
        [train, "--config", demo, "--workdir", flat, *sizes],
        [train, "--config", f"{demo}:transfer", "--workdir", deep, f"--config.transfer.run={flat}", *sizes],
        [CHECKOUT / "evaluate.py", "--runs", f"{flat},{deep}", "--store", store, "--output", tmp_path / "out"],
    ):  # fmt: skip
        result = call(*command, **here)
        assert result.returncode == 0, result.stderr
    assert "vgg16-torchvision" in (tmp_path / "out" / "table.md").read_text()
    assert Path(tmp_path / "out" / "curves.png").exists()
