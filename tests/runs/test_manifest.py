"""A checkpoint's manifest protects all that it says, its own step and name included."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cpca_jax.errors import CheckpointError
from cpca_jax.runs import checkpoints, config, manifest, saving
from cpca_jax.runs.state import Player, TrainState
from cpca_jax.runtime import partials
from cpca_jax.training.experiment import build_networks
from cpca_jax.training.networks import create_state
from cpca_jax.training.optim import optimisers


def write(run, *steps, poison=None):
    experiment = tiny.configuration(run / "store")
    networks = build_networks(experiment)
    state = create_state(networks, optimisers(experiment.optim), jax.random.key(0))
    if poison is not None:
        params = jax.tree.map(lambda leaf: leaf.at[0].set(poison), state.generator.params)
        state = state.replace(generator=state.generator.replace(params=params))
    for step in steps:
        saving.save(
            run,
            state.replace(step=jnp.int32(step)),
            config.to_json(experiment),
            about={"data": "a store"},
            keep=3,
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    run = tmp_path_factory.mktemp("manifest") / "run"
    write(run, 96, 97)
    return run


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run")


def path(run, step=97):
    return run / "checkpoints" / str(step) / "manifest.json"


def skipped(run, step=97):
    """Return the reason why the newest checkpoint is skipped; the one before must be taken."""
    said = []
    assert checkpoints.sound_step(run, say=said.append) == 96
    assert len(said) == 1
    before, _, reason = said[0].partition(f"checkpoint {step} skipped: ")
    assert before == "warning: run: "
    return reason


def test_a_folder_of_another_name_is_not_believed(run):
    (run / "checkpoints" / "97").rename(run / "checkpoints" / "150")
    assert skipped(run, 150) == "it is that of step 97 under another name"


@pytest.mark.parametrize("name", ["²", "٩٩", "0150", "+150", "150.0", "-1", "1_50", " 150"])
def test_a_folder_that_is_no_step_is_no_checkpoint(run, name):
    shutil.copytree(run / "checkpoints" / "97", run / "checkpoints" / name)
    assert checkpoints.steps(run) == [96, 97]
    assert checkpoints.sound_step(run) == 97


DAMAGED = {
    "no object": lambda m: [],
    "nothing": lambda m: {},
    "a list of files": lambda m: m | {"files": []},
    "no files": lambda m: m | {"files": {}},
    "files within files": lambda m: m | {"files": {"a": {"b": []}}},
    "a step in words": lambda m: m | {"step": "97"},
    "a step of a whole float": lambda m: m | {"step": 97.0},
    "another step": lambda m: m | {"step": 96},
    "true for a step": lambda m: m | {"step": True},
    "other data": lambda m: m | {"about": {"data": "another store"}},
    "no versions": lambda m: m | {"versions": {}},
    "another version": lambda m: m | {"versions": m["versions"] | {"cpca_jax": "0.1.0"}},
    "one more key": lambda m: m | {"also": 1},
    "a digest that is none": lambda m: m | {"digest": None},
    "an empty digest": lambda m: m | {"digest": ""},
    "another name for the digest": lambda m: (
        {k: v for k, v in m.items() if k != "digest"} | {"digesu": m["digest"]}
    ),
    "a file less": lambda m: m | {"files": dict(list(m["files"].items())[1:])},
}


@pytest.mark.parametrize("change", DAMAGED.values(), ids=DAMAGED)
def test_a_changed_manifest_is_skipped(run, change):
    path(run).write_text(json.dumps(change(json.loads(path(run).read_text()))))
    assert "manifest" in skipped(run)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"step": NaN}', b"9" * 5000]
)
def test_a_manifest_that_is_no_json_is_skipped(run, content):
    path(run).write_bytes(content)
    assert "manifest" in skipped(run)


def test_each_flipped_bit_of_a_manifest_is_found(run):
    sound = path(run).read_bytes()
    for place in range(0, len(sound), 7):
        content = bytearray(sound)
        content[place] ^= 1 << (place % 8)
        path(run).write_bytes(content)
        assert checkpoints.problem(run, 97) is not None or json.loads(content) == json.loads(sound)
    path(run).write_bytes(sound)
    assert checkpoints.problem(run, 97) is None


def test_a_manifest_that_is_a_folder_is_skipped(run):
    path(run).unlink()
    path(run).mkdir()
    assert "manifest" in skipped(run)


def test_a_checkpoint_from_before_the_digest_is_still_read(run):
    written = json.loads(path(run).read_text())
    del written["digest"]
    path(run).write_text(json.dumps(written))
    assert checkpoints.sound_step(run) == 97
    assert not checkpoints.read_manifest(run, 97).protected
    assert checkpoints.restore_params(run)


def test_a_checkpoint_from_before_the_digest_that_is_not_finite_does_not_count(run, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(saving, "broken", lambda state: [])
        write(run, 98, poison=jnp.nan)
    written = json.loads(path(run, 98).read_text())
    del written["digest"]
    path(run, 98).write_text(json.dumps(written))
    said = []
    assert checkpoints.sound_step(run, say=said.append) == 97
    assert said[0].endswith("generator/conv1/kernel holds a number that is not finite")


@pytest.mark.parametrize("poison", [jnp.nan, jnp.inf, -jnp.inf])
def test_what_is_not_finite_is_never_saved_and_removes_nothing(run, poison):
    with pytest.raises(CheckpointError, match=r"step 98 is not saved: .* is not finite"):
        write(run, 98, poison=poison)
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["96", "97"]


def test_unsound_and_later_checkpoints_do_not_push_sound_ones_out(run):
    for stray in (9_000, 9_001, 9_002):
        (run / "checkpoints" / str(stray)).mkdir()
    path(run, 96).write_text("{")
    write(run, 98, 99, 100)
    assert checkpoints.steps(run) == [96, 98, 99, 100, 9_000, 9_001, 9_002]
    said = []
    assert checkpoints.sound_step(run, say=said.append) == 100
    assert len(said) == 3


def test_files_that_have_not_changed_are_hashed_once(run, monkeypatch):
    hashed = []
    digests = checkpoints.digests
    monkeypatch.setattr(checkpoints, "digests", lambda f: hashed.append(f.name) or digests(f))
    for _ in range(3):
        assert checkpoints.sound_step(run) == 97
    assert hashed == ["97"]
    (run / "checkpoints" / "97" / "config.json").write_text("{}")
    assert checkpoints.sound_step(run, say=lambda _: None) == 96


def test_an_item_that_cannot_be_restored_is_one_sentence(run):
    """Digests that were made anew do not make Orbax's files readable."""
    folder = run / "checkpoints" / "97"
    for file in (folder / "generator").rglob("*"):
        if file.is_file():
            file.write_bytes(b"junk")
    stated = manifest.read(folder)
    fresh = manifest.Manifest(97, stated.about, stated.versions, checkpoints.digests(folder))
    path(run).write_text(manifest.as_json(fresh))
    assert checkpoints.sound_step(run) == 97
    with pytest.raises(CheckpointError, match="run, step 97: generator cannot be restored"):
        checkpoints.restore_params(run)


def test_two_checkpoints_of_the_same_content_have_one_digest(run, tmp_path):
    moved = shutil.copytree(run, tmp_path / "moved")
    ours, theirs = (checkpoints.read_manifest(r, 97).digest for r in (run, moved))
    assert ours == theirs != checkpoints.read_manifest(run, 96).digest


def test_an_item_that_states_more_than_its_files_can_hold_is_not_restored(tmp_path):
    """100 MB of zeros in a few kilobytes; a file from outside could state 100 GB as easily."""
    run = tmp_path / "run"
    params = {"conv1": {"kernel": np.zeros((5000, 5000), np.float32)}}
    state = TrainState(np.int32(1), Player(params, {"adam": {"mu": params}}), None)
    saving.save(run, state, "{}", about={}, keep=1)
    with pytest.raises(CheckpointError, match="generator states 100000000 bytes, at most"):
        checkpoints.restore_params(run)


def test_moments_that_are_still_zero_are_as_large_as_their_weights(tmp_path):
    run = tmp_path / "run"
    params = {"dense": {"kernel": np.random.default_rng(0).normal(size=(3000, 3000))}}
    zeros = jax.tree.map(np.zeros_like, params)
    state = TrainState(np.int32(1), Player(params, {"adam": {"mu": zeros, "nu": zeros}}), None)
    saving.save(run, state, "{}", about={}, keep=1)
    assert checkpoints.restore_item(run, 1, "optimizer")


def test_a_removal_that_was_killed_leaves_nothing_behind(run, monkeypatch):
    """The checkpoint is no longer there under its name, and the next start removes the rest."""
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *given, **options: None)
        saving._remove(run / "checkpoints" / "96")
    assert checkpoints.steps(run) == [97]
    assert len(list((run / "checkpoints").iterdir())) == 2
    partials.remove_leftovers(run / "checkpoints")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["97"]
