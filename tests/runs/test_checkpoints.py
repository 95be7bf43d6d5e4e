"""Checkpoints: round trip, walk-back over damage, refusals."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cpca_jax.errors import CheckpointError
from cpca_jax.runs import checkpoints, config, saving
from cpca_jax.training.experiment import build_networks
from cpca_jax.training.networks import create_state, state_shapes
from cpca_jax.training.optim import optimisers


@pytest.fixture
def made(tmp_path):
    """A run with checkpoints at steps 1, 2 and 3."""
    experiment = tiny.configuration(tmp_path / "store")
    networks = build_networks(experiment)
    state = create_state(networks, optimisers(experiment.optim), jax.random.key(0))
    run = tmp_path / "run"
    for step in (1, 2, 3):
        state = state.replace(step=jnp.int32(step))
        saving.save(run, state, config.to_json(experiment), about={"data": "x"}, keep=3)
    return run, state, state_shapes(networks, optimisers(experiment.optim)), experiment


def data_files(run, step):
    """Return the files that hold numbers, the largest first."""
    files = [p for p in (run / "checkpoints" / str(step)).rglob("*") if p.is_file()]
    return sorted((p for p in files if "/d/" in str(p)), key=lambda p: -p.stat().st_size)


def flip(path):
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_state_comes_back_bit_for_bit(made):
    run, state, like, _ = made
    back = saving.restore_state(run, like, step=3)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_parameters_come_back_as_numpy_with_their_config(made):
    run, state, _, experiment = made
    params = checkpoints.restore_params(run)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(params))
    np.testing.assert_array_equal(
        params["conv1"]["kernel"], state.generator.params["conv1"]["kernel"]
    )
    assert config.parse(checkpoints.read_config(run)) == experiment
    assert "dense1" in checkpoints.restore_params(run, which="critic", step=2)


def test_a_flipped_bit_anywhere_is_found_and_the_step_before_is_taken(made):
    run, *_ = made
    for file in data_files(run, 3):
        flip(file)
        said = []
        assert checkpoints.sound_step(run, say=said.append) == 2
        assert "checkpoint 3 skipped" in said[0]
        assert "changed" in said[0]
        flip(file)
    assert checkpoints.sound_step(run) == 3


def test_stray_truncated_and_unfinished_folders_are_skipped(made):
    run, *_ = made
    (run / "checkpoints" / "999").mkdir()
    (run / "checkpoints" / ".partial-7").mkdir()
    (run / "checkpoints" / "3" / "manifest.json").write_text("{")
    next(iter((run / "checkpoints" / "2").rglob("_METADATA"))).unlink()
    said = []
    assert checkpoints.sound_step(run, say=said.append) == 1
    assert len(said) == 3


def test_no_sound_checkpoint_is_one_clear_line(made, tmp_path):
    run, *_ = made
    for step in (1, 2, 3):
        flip(data_files(run, step)[0])
    with pytest.raises(
        CheckpointError, match=r"run: no sound checkpoint; checkpoint 3 is not .* new or changed$"
    ):
        checkpoints.restore_params(run)
    with pytest.raises(CheckpointError, match=r"at step 7; there are \[1, 2, 3\]"):
        checkpoints.require_step(run, step=7)
    with pytest.raises(CheckpointError, match="nowhere: no such run folder"):
        checkpoints.restore_params(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no sound checkpoint; train it first"):
        checkpoints.restore_params(tmp_path)


def test_another_network_is_refused_with_all_names(made, tmp_path):
    run, *_ = made
    wider = tiny.configuration(tmp_path, model__fields={"features": 6})
    like = state_shapes(build_networks(wider), optimisers(wider.optim))
    with pytest.raises(CheckpointError) as error:
        saving.restore_state(run, like, step=3)
    for said in (
        "generator/conv1/kernel: ((3, 3, 1, 4), 'float32') saved",
        "generator/merge7/kernel",
    ):
        assert said in str(error.value)


def test_a_run_without_a_critic_says_so(tmp_path):
    experiment = tiny.configuration(tmp_path, loss__adversarial=0.0, loss__mse=1.0)
    networks = build_networks(experiment)
    state = create_state(networks, optimisers(experiment.optim), jax.random.key(0)).replace(
        step=jnp.int32(1)
    )
    run = tmp_path / "run"
    saving.save(run, state, config.to_json(experiment), about={}, keep=1)
    back = saving.restore_state(run, state_shapes(networks, optimisers(experiment.optim)), step=1)
    assert back.critic is None
    with pytest.raises(CheckpointError, match="it holds no critic"):
        checkpoints.restore_params(run, which="critic")


def test_old_checkpoints_go_but_every_nth_stays(made):
    run, state, _, experiment = made
    for step in (4, 5, 6, 7):
        state = state.replace(step=jnp.int32(step))
        text = config.to_json(experiment)
        saving.save(run, state, text, about={}, keep=2, keep_every=3)
    assert checkpoints.steps(run) == [3, 6, 7]


def test_saving_the_same_step_again_replaces_it(made):
    run, state, _, experiment = made
    shutil.rmtree(run / "checkpoints" / "3" / "critic")
    saving.save(run, state, config.to_json(experiment), about={}, keep=3)
    assert checkpoints.sound_step(run) == 3


def test_the_manifest_names_every_file_and_the_versions(made):
    run, *_ = made
    manifest = json.loads((run / "checkpoints" / "3" / "manifest.json").read_text())
    assert manifest["versions"]["jax"] == jax.__version__
    assert {"config.json", "generator/_METADATA"} <= set(manifest["files"])
    assert checkpoints.read_manifest(run, 3).about["data"] == "x"


def test_a_checkpoint_of_an_earlier_version_is_sound_by_a_relative_path(made, monkeypatch):
    """Its manifest has no digest of its own, so that its numbers are looked at."""
    run, *_ = made
    path = run / "checkpoints" / "3" / "manifest.json"
    stated = json.loads(path.read_text())
    plain = {name: stated[name] for name in ("step", "about", "versions", "files")}
    path.write_text(json.dumps(plain))
    monkeypatch.chdir(run.parent)
    assert checkpoints.problem(Path(run.name), 3) is None
