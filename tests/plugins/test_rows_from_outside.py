"""A metric, a penalty, a generator and a data set from a user's own modules.

The modules lie next to this file; each imports no more of the project than `cpca_jax` and has at most 40 lines.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import fake_dicom
import nibabel
import numpy as np
import pytest
from conftest import CHECKOUT

pytestmark = pytest.mark.slow

HERE = CHECKOUT / "tests" / "plugins"
MODULES = sorted(HERE.glob("my_*.py"))
PENALTY, NETWORK, METRIC, DATA_SET = (
    HERE / f"my_{name}.py" for name in ("penalty", "network", "metric", "data_set")
)
SMALL = [
    "--config=cpca1:cpu",
    "--config.model.name=two_layers",
    "--config.model.slices=3",
    "--config.loss.penalty=absolute",
    "--config.data.patch=20",
    "--config.data.batch=2",
    "--config.critic.fields.features=(2,2,4,4,4,4)",
    "--config.critic.fields.dense=8",
    "--config.perceptual.network=random",
    "--config.perceptual.tap=relu1_2",
    "--config.train.epochs=1",
    "--config.train.steps_per_epoch=2",
    "--config.train.validation_slices=2",
    "--config.compute.devices=1",
]


def cpca(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECKOUT / f"{arguments[0]}.py"), *map(str, arguments[1:])]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def plugins(*files: Path) -> list[str]:
    return [f"--plugin={file}" for file in files]


def write_scans(folder: Path) -> None:
    """Two dose levels of three patients, in the files that my_data_set.py knows."""
    folder.mkdir()
    for seed, patient in enumerate("ABC"):
        for dose, noise_hu in (("full", 20.0), ("low", 40.0)):
            volume = fake_dicom.body(7, noise_hu=noise_hu, seed=seed).clip(-1024)
            header = " ".join(map(str, (*volume.shape, 1.5))) + "\n"
            values = volume.astype("<i2").tobytes()
            (folder / f"{patient}_{dose}.myct").write_bytes(header.encode() + values)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a user's network, penalty and metric, on a store of a user's data set."""
    folder = tmp_path_factory.mktemp("outside")
    write_scans(folder / "scans")
    done = cpca(
        "prepare",
        "--input=scans",
        "--output=store",
        *plugins(DATA_SET),
        "--test=C",
        "--validation=B",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert "found: MyCT" in done.stdout
    rows = plugins(PENALTY, NETWORK, METRIC)
    done = cpca("train", *SMALL, *rows, "--workdir=run", "--config.data.store=store", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_row_takes_at_most_forty_lines(path):
    assert len(path.read_text().splitlines()) <= 40


def test_a_training_uses_them_and_remembers_their_names(trained):
    written = json.loads((trained / "run" / "config.json").read_text())
    assert written["plugins"] == [PENALTY.name, NETWORK.name, METRIC.name]
    lines = (trained / "run" / "validation.jsonl").read_text().splitlines()
    assert {"mae_hu", "low_mae_hu"} <= set(json.loads(lines[-1]))


def test_it_is_scored_by_the_new_metric_and_without_its_penalty(trained):
    command = ("--runs=run", "--store=store", "--output=scores", "--batch=2")
    done = cpca("evaluate", *command, *plugins(NETWORK, METRIC), cwd=trained)
    assert done.returncode == 0, done.stderr
    with (trained / "scores" / "table.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"low dose", "run"}
    assert 0 < float(rows["low dose"]["mae_hu"]) < float(rows["low dose"]["rmse_hu"])
    assert done.stdout.count("| low dose |") == 1
    assert "MAE (HU)" in (trained / "scores" / "table.md").read_text()


def test_it_denoises_without_penalty_and_metric(trained):
    volume = np.full((24, 26, 5), -1000, np.int16)
    volume[8:16, 8:16] = 40
    (trained / "ct").mkdir()  # a file's folder belongs to the input, and nothing is written there
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), trained / "ct" / "scan.nii.gz")
    done = cpca(
        "denoise",
        "--run=run",
        "--input=ct/scan.nii.gz",
        "--output=out",
        *plugins(NETWORK),
        cwd=trained,
    )
    assert done.returncode == 0, done.stderr
    assert (trained / "out" / "scan.nii.gz").exists()


def test_without_its_network_it_says_which_plug_in_it_wants(trained):
    done = cpca("denoise", "--run=run", "--input=ct/scan.nii.gz", "--output=other", cwd=trained)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: run: its network 'two_layers' is none of cpca,")
    assert line.endswith("my_penalty.py, my_network.py, my_metric.py: load it with --plugin")
