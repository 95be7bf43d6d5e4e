"""Training stage by stage: kept and added parameters, and the slices of each stage."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import tiny

from cpca_jax.data.store.reader import open_store
from cpca_jax.denoising.denoiser import denoise_volume, load_run
from cpca_jax.errors import ConfigError
from cpca_jax.runs import checkpoints
from cpca_jax.training import cascade, loop, procedures
from cpca_jax.training.experiment import assemble, build_networks


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    splits = ("train", "train", "validation", "test")
    return tiny.write_store(tmp_path_factory.mktemp("stages") / "store", splits)


def cascade_experiment(store, **changes):
    chosen = {
        "model__name": "cascade",
        "model__fields__depth": 1,
        "loss__adversarial": 0.0,
        "loss__perceptual": 0.0,
        "loss__mse": 1.0,
        "model__fields__hardest": 0.25,
        "model__fields__stages": 2,
        "train__epochs": 1,
        "optim__weight_decay": 1e-2,
        "optim__learning_rate": 1e-3,
    }
    return tiny.configuration(store, **(chosen | changes))


def stage(store, number, workdir):
    experiment = cascade_experiment(store)
    network = build_networks(experiment).generator
    return cascade.stage_experiment(experiment, number, workdir, network)


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("cascade") / "run"
    procedures.train(cascade_experiment(store), workdir)
    return workdir


def test_the_second_stage_is_added_to_the_first_which_stays(trained):
    first, both = (checkpoints.restore_params(p) for p in (trained / "stage1", trained))
    assert list(first) == ["stage1"]
    assert sorted(both) == ["stage1", "stage2"]
    pairs = zip(jax.tree.leaves(first["stage1"]), jax.tree.leaves(both["stage1"]), strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(a, b)
    # The new stage sees the estimate and the original, and has been trained.
    assert both["stage2"]["conv1"]["kernel"].shape == (3, 3, 2, 4)
    _, moments = checkpoints.restore_network(trained, "generator", step=3)
    assert (moments["stage2"]["norm2"]["mean"] != 0).any()
    _, before = checkpoints.restore_network(trained / "stage1", "generator", step=3)
    np.testing.assert_array_equal(
        moments["stage1"]["norm2"]["mean"], before["stage1"]["norm2"]["mean"]
    )


def test_each_stage_is_a_run_that_can_be_evaluated(trained, store):
    series = open_store(store).split("test")[0]
    for run, stages in ((trained / "stage1", 1), (trained, 2)):
        model = load_run(run)
        assert model.module.stages == stages
        assert denoise_volume(model, series.low).shape == series.low.shape


def test_the_second_stage_learns_from_the_hardest_slices(trained, store):
    """The slices are recomputed by hand; a quarter of two series of seven slices is four."""
    model = load_run(trained / "stage1")
    series = open_store(store).split("train")
    errors = {}
    for s, one in enumerate(series):
        denoised = np.clip(denoise_volume(model, one.low, outside="clip"), -900, 900)
        window = model.window
        full = np.clip(one.full, window.low, window.high)
        for z in range(len(full)):
            errors[s, z] = float(((denoised[z] - full[z]) ** 2).sum())
    want = sorted(sorted(errors, key=errors.get)[-4:])
    assert cascade.hardest_places(model, series, 0.25, batch=2) == want


def test_run_again_it_passes_over_what_is_done(trained, store):
    before = checkpoints.restore_params(trained)
    state = cascade.train(cascade_experiment(store), trained)
    assert int(state.step) == 3
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(state.generator.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_interrupted_second_stage_goes_on_as_if_it_had_not_been(store, trained, tmp_path):
    """Two of three steps and then all three give the same parameters, bit for bit."""
    shutil.copytree(trained / "stage1", tmp_path / "run" / "stage1")
    second = stage(store, 2, tmp_path / "run")
    two = dataclasses.replace(second, train=dataclasses.replace(second.train, steps=2))
    parts = cascade.on_hardest(assemble(two), 0.25)
    assert int(loop.train_parts(parts, tmp_path / "run").step) == 2
    assert int(cascade.train(cascade_experiment(store), tmp_path / "run").step) == 3
    pairs = (checkpoints.restore_params(run) for run in (trained, tmp_path / "run"))
    for a, b in zip(*(jax.tree.leaves(params) for params in pairs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stage_is_an_ordinary_experiment(store, tmp_path):
    first = stage(store, 1, tmp_path)
    second = stage(store, 2, tmp_path)
    assert first.transfer.run == ""
    assert second.transfer.run == str(tmp_path / "stage1")
    assert (first.model.fields["stages"], second.model.fields["stages"]) == (1, 2)
    assert json.dumps(second.model.fields)


@pytest.mark.parametrize(("field", "value"), [("stages", 0), ("hardest", 0.0), ("hardest", 1.5)])
def test_stages_and_share_that_cannot_be_are_refused(store, tmp_path, field, value):
    experiment = cascade_experiment(store, **{f"model__fields__{field}": value})
    with pytest.raises(ConfigError, match=rf"config.model.fields.{field}: {value}; it must"):
        procedures.train(experiment, tmp_path / "run")


def test_only_a_cascade_has_stages(store, tmp_path):
    experiment = tiny.configuration(store, model__fields__stages=2)
    with pytest.raises(ConfigError, match=r"config.model.fields.stages: cpca has no such field"):
        procedures.train(experiment, tmp_path / "run")
