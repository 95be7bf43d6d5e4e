"""The data that a configuration trains and validates on."""

import dataclasses

import pytest
import tiny

from cpca_jax.data.store.patches import PatchSampler
from cpca_jax.data.store.reader import open_store
from cpca_jax.errors import ConfigError
from cpca_jax.training import loop
from cpca_jax.training.experiment import assemble, build_networks


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    splits = ("train", "train", "train", "train", "validation", "test")
    return tiny.write_store(tmp_path_factory.mktemp("experiment") / "store", splits)


def names(series):
    return [one.name for one in series]


@pytest.mark.parametrize(
    ("fold", "held"), [(0, ["phantom-000", "phantom-002"]), (1, ["phantom-001", "phantom-003"])]
)
def test_a_fold_validates_on_patients_that_do_not_train(store, monkeypatch, fold, held):
    seen = []

    def sampler(train, spec):
        seen.append(train)
        return PatchSampler(train, spec)

    monkeypatch.setattr("cpca_jax.training.experiment.PatchSampler", sampler)
    parts = assemble(tiny.configuration(store, data__folds=2, data__fold=fold))
    assert names(parts.validation) == held
    everyone = names(open_store(store).split("train"))
    assert sorted(names(seen[0]) + held) == everyone


@pytest.mark.parametrize("part", ["model", "critic"])
def test_precision_has_one_place(store, part):
    experiment = tiny.configuration(store)
    chosen = getattr(experiment, part)
    chosen = dataclasses.replace(chosen, fields={**chosen.fields, "dtype": "bfloat16"})
    with pytest.raises(ConfigError, match=f"config.{part}.fields.dtype: 'bfloat16'.*precision"):
        build_networks(dataclasses.replace(experiment, **{part: chosen}))


def test_without_folds_the_validation_split_is_used(store):
    assert names(assemble(tiny.configuration(store)).validation) == ["phantom-004"]


@pytest.mark.parametrize(
    ("folds", "fold", "said"),
    [(5, 0, "only 4 patients"), (1, 0, "0 for none, or 2 or more"), (2, 2, "below data.folds")],
)
def test_folds_that_cannot_be(store, folds, fold, said):
    with pytest.raises(ConfigError, match=said):
        assemble(tiny.configuration(store, data__folds=folds, data__fold=fold))


def test_a_fold_cannot_start_from_a_run_that_saw_its_patients(store, tmp_path):
    flat = {"train__steps": 1, "train__validation_slices": 1}
    loop.train(tiny.configuration(store, **flat), tmp_path / "everyone")
    loop.train(tiny.configuration(store, **flat, data__folds=2, data__fold=1), tmp_path / "fold1")
    deep = flat | {"model__slices": 3, "data__folds": 2, "data__fold": 1}
    said = r"config.data.fold: 1 of 2; everyone was trained with fold 0 of 0"
    with pytest.raises(ConfigError, match=said):
        chosen = tiny.configuration(store, **deep, transfer__run=str(tmp_path / "everyone"))
        loop.train(chosen, tmp_path / "leaking")
    chosen = tiny.configuration(store, **deep, transfer__run=str(tmp_path / "fold1"))
    assert int(loop.train(chosen, tmp_path / "fitting").step) == 1
