"""A run is held to the checkpoint that it started from, not to the spelling of its path."""

import os
import shutil

import pytest
import tiny

from cpca_jax.errors import ConfigError
from cpca_jax.runs import checkpoints
from cpca_jax.training import loop


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store, a 2D run of two steps, and a run of one step that started from it."""
    root = tmp_path_factory.mktemp("origin")
    store = tiny.write_store(root / "store")
    loop.train(tiny.configuration(store, train__steps=2, train__checkpoint_every=1), root / "flat")
    loop.train(transfer(store, root / "flat"), root / "deep")
    return root


@pytest.fixture
def root(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "root")


def transfer(store, run, steps=1, **changes):
    changes = {"transfer__run": str(run), "train__steps": steps, **changes}
    return tiny.configuration(store, **changes)


def resumes(root, run, **changes):
    state = loop.train(transfer(root / "store", run, steps=2, **changes), root / "deep")
    return int(state.step) == 2


@pytest.mark.parametrize(
    "spell",
    [
        lambda flat: f"{flat}/",
        os.path.relpath,
        lambda flat: flat / ".." / "flat",
        lambda flat: flat.rename(flat.with_name("elsewhere")),
        lambda flat: shutil.copytree(flat, flat.with_name("copy")),
    ],
    ids=["slash", "relative", "dots", "moved", "copied"],
)
def test_another_path_to_the_same_checkpoint_is_the_same_run(root, spell):
    assert resumes(root, spell(root / "flat"))


def test_the_step_may_be_named_or_not(root):
    assert resumes(root, root / "flat", transfer__step=2)


def test_a_source_that_was_trained_further_or_removed_is_no_other_run(root):
    longer = tiny.configuration(root / "store", train__steps=4, train__checkpoint_every=1)
    loop.train(longer, root / "flat")
    assert checkpoints.steps(root / "flat") == [2, 3, 4]
    assert resumes(root, root / "flat")
    shutil.rmtree(root / "flat")
    loop.train(transfer(root / "store", root / "flat", steps=3), root / "deep")


def test_the_origin_survives_resuming(root):
    before = checkpoints.read_manifest(root / "deep", 1).about
    assert resumes(root, root / "flat")
    after = checkpoints.read_manifest(root / "deep", 2).about
    assert after == before
    assert before["transfer_step"] == "2"
    assert before["transfer_checkpoint"] == checkpoints.read_manifest(root / "flat", 2).digest


def test_another_run_is_refused(root):
    other = tiny.configuration(root / "store", train__steps=2, train__seed=1)
    loop.train(other, root / "other")
    with pytest.raises(ConfigError, match=r"does not hold the checkpoint of step 2 \([0-9a-f]{12}"):
        resumes(root, root / "other")


def test_another_run_at_the_same_path_is_refused(root):
    shutil.rmtree(root / "flat")
    loop.train(tiny.configuration(root / "store", train__steps=2, train__seed=1), root / "flat")
    with pytest.raises(ConfigError, match="does not hold the checkpoint"):
        resumes(root, root / "flat")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"transfer__step": 1}, "transfer.step: 1 here, 2 there"),
        ({"transfer__run": ""}, "transfer.run: '' here"),
    ],
)
def test_another_beginning_is_refused(root, changes, said):
    with pytest.raises(ConfigError, match=said):
        resumes(root, root / "flat", **changes)


def test_a_run_from_before_origins_is_held_to_its_path(trained, root, monkeypatch):
    from cpca_jax.training import origin

    monkeypatch.setattr(origin, "recorded", lambda about: {})
    assert resumes(root, os.path.relpath(trained / "flat"))
    moved = shutil.copytree(root / "flat", root / "moved")
    with pytest.raises(ConfigError, match=r"transfer\.run: .* here, .* there"):
        resumes(root, moved)
