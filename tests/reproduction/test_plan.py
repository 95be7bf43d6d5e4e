"""The deck as stages, and which stage depends on which."""

import pytest
import tiny

from cpca_jax.configs import deck
from cpca_jax.errors import ConfigError, InputError, WeightsError
from cpca_jax.reproduction import inputs
from cpca_jax.reproduction import plan as deck_plan
from cpca_jax.reproduction import stages as stages
from cpca_jax.reproduction.stages import Cohort
from cpca_jax.runs import config
from cpca_jax.runtime import plugins

PHANTOMS = Cohort("phantoms")


def digests(chosen, workdir):
    plan = deck_plan.make_plan(chosen, workdir)
    return {name: plan.folder(name).name for name in plan.chosen()}


@pytest.mark.parametrize("scale", deck.SCALES)
def test_every_training_is_an_experiment(tmp_path, scale):
    """Parsed as a run would parse it, and each row and question has its training."""
    chosen = deck.get_config(scale)
    plan = deck_plan.make_plan(chosen, tmp_path)
    for name in chosen.trainings:
        training = chosen.trainings[name].config
        training.data.store = "x"
        config.parse(training)
        assert PHANTOMS.training(name) in plan.chosen()
    sources = {chosen.trainings[name].source for name in chosen.trainings} - {""}
    assert set(chosen.rows) | set(chosen.questions) | sources == set(chosen.trainings)
    with pytest.raises(ConfigError, match="not one of its variants demo, small, full"):
        deck.get_config("huge")


def test_fine_tuning_ends_with_the_epoch_that_training_from_scratch_ends_with():
    for name, scale in deck.SCALES.items():
        trainings = deck.get_config(name).trainings
        for i in scale.deep:
            chosen = trainings[f"CPCA_TF-{i}"].config
            assert chosen.transfer.step == scale.first * scale.steps
            assert chosen.optim.first_epoch == scale.first
            assert chosen.transfer.step % trainings["CPCA-1"].config.train.keep_every == 0
            assert scale.first + chosen.train.epochs == scale.epochs


def test_a_changed_training_reruns_what_depends_on_it(tmp_path):
    before = digests(deck.get_config("demo"), tmp_path)
    chosen = deck.get_config("demo")
    chosen.trainings["CPCA-1"].config.loss.perceptual = 0.5
    after = digests(chosen, tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    tuned = {name for name in before if name.startswith("train-CPCA_TF")}
    hanging = {name for name in tuned if "no-2D-critic" not in name}
    assert len(hanging) < len(tuned)
    pages = {"table", "cases", "detectability", "report"}
    assert changed == {"train-CPCA-1"} | pages | hanging
    only = deck.get_config("demo")
    only.detectability.readers = 5
    after = digests(only, tmp_path)
    assert {n for n in before if before[n] != after[n]} == {"detectability", "report"}


def test_another_weight_of_the_sweep_reruns_the_sweep_only(tmp_path):
    before = digests(deck.get_config("demo"), tmp_path)
    chosen = deck.get_config("demo")
    chosen.sweep["values"] = (0.5, 5.0)
    after = digests(chosen, tmp_path)
    assert {n for n in before if before[n] != after[n]} == {"lambda", "report"}


def test_real_scans_come_beside_phantoms_or_instead_of_them(tmp_path):
    chosen = deck.get_config("small")
    phantoms = digests(chosen, tmp_path)
    with pytest.raises(InputError, match="scans: no files in this folder"):
        digests(deck_with_scans(tmp_path / "scans"), tmp_path)
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "1.dcm").write_text("a scan")
    chosen = deck_with_scans(tmp_path / "scans")
    both = digests(chosen, tmp_path)
    added = {"real", "real-table", "real-train-RED-CNN", "real-train-WGAN-VGG"}
    added |= {"real-train-CPCA-1", "real-train-CNN"}
    assert set(both) - set(phantoms) == added
    assert {n for n in phantoms if phantoms[n] != both[n]} == {"report"}
    (tmp_path / "scans" / "1.dcm").write_text("another")
    changed = digests(chosen, tmp_path)
    assert {n for n in both if both[n] != changed[n]} == added | {"report"}
    chosen.scans.input = chosen.real.input
    instead = digests(chosen, tmp_path)
    assert "phantoms" not in instead
    assert instead["train-CPCA-1"] != phantoms["train-CPCA-1"]


def deck_with_scans(folder):
    chosen = deck.get_config("small")
    chosen.real.input = str(folder)
    return chosen


def test_other_feature_weights_rerun_every_training(tmp_path, monkeypatch):
    chosen = deck.get_config("demo")
    before = digests(chosen, tmp_path)
    monkeypatch.setattr(inputs, "features_digest", lambda chosen: "others")
    after = digests(chosen, tmp_path)
    assert {n for n in before if before[n] == after[n]} == {"phantoms"}


def test_an_edited_plug_in_reruns_every_training(tmp_path, monkeypatch):
    """Its rows may be others now: penalties of other values, metrics that no score has yet."""
    monkeypatch.setattr(plugins, "_LOADED", {})
    chosen, path = deck.get_config("demo"), tmp_path / "mine.py"
    path.write_text("A = 1\n")
    found = [digests(chosen, tmp_path)]
    for text in ("A = 1\n", "A = 2\n"):
        monkeypatch.setattr(plugins, "_LOADED", {})
        path.write_text(text)
        plugins.load([str(path)])
        found += [digests(chosen, tmp_path), digests(chosen, tmp_path)]
    without, one, again, edited, last = found
    assert one == again
    assert edited == last
    for other in (without, edited):
        assert {name for name in one if one[name] == other[name]} == {"phantoms"}


def test_missing_feature_weights_are_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="no VGG19 weights given"):
        inputs.require_features(deck.get_config("full"))
    inputs.require_features(deck.get_config("demo"))


def test_a_training_comes_after_the_one_it_starts_from(tmp_path):
    chosen = deck.get_config("small")
    chosen.rows = ("CPCA_TF-5", "CPCA-1", "CPCA-5")
    chosen.questions = ("CPCA_TF-3, no 2D critic",)
    order = deck_plan._in_order(chosen)
    assert order == [
        "CPCA-1",
        "CPCA_TF-5",
        "CPCA-5",
        "CPCA-1 without critic",
        "CPCA_TF-3, no 2D critic",
    ]


def test_lesions_are_scanned_as_the_training_phantoms_were(tmp_path):
    before = digests(deck.get_config("small"), tmp_path)
    chosen = deck.get_config("small")
    settings = deck_plan._detectability(chosen, list(chosen.rows), PHANTOMS).settings
    assert (settings["dose"], settings["interval_mm"], settings["size"]) == (0.25, 1.0, 512)
    assert settings["margin"] == 7  # GAN-3D looks at 15 slices
    chosen.rows = ("RED-CNN", "WGAN-VGG", "CPCA-1", "CPCA-3", "CPCA_TF-3")
    assert deck_plan._detectability(chosen, list(chosen.rows), PHANTOMS).settings["margin"] == 1
    chosen = deck.get_config("small")
    chosen.phantoms.dose = 0.1
    after = digests(chosen, tmp_path)
    assert before["detectability"] != after["detectability"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.phantoms.update({"slice": 3}), "config.phantoms.slice: no such key"),
        (lambda c: c.detectability.update({"reader": 3}), "config.detectability.reader: no such"),
        (lambda c: c.update({"rows": ("RED-CNN", "CPCA-1")}), "config.rows: CPCA-3 is missing"),
        (lambda c: c.update({"cases": ("CNN",)}), "config.rows: CNN is missing"),
        (lambda c: c.sweep.update({"field": "loss.percept"}), "config.loss.percept: no such key"),
        (lambda c: c.sweep.update({"folds": 1}), "config.sweep.folds: 1; it must be 2 or more"),
        (lambda c: c.update({"table_slices": -1}), "config.table_slices: -1"),
        (lambda c: c.phantoms.update({"slices": 0}), "config.phantoms.slices: 0"),
        (lambda c: c.detectability.update({"rois": 0}), "config.detectability.rois: 0"),
        (
            lambda c: c.update({"rows": (*c.rows, "CPCA-33")}),
            r"config.rows: CPCA-33 is no training; there are .*; did you mean 'CPCA-3'",
        ),
        (
            lambda c: c.trainings["CPCA-1"].config.model.fields.update({"features": -4}),
            "config.model.fields.features: -4",
        ),
        (lambda c: c.trainings["CPCA-3"].config.data.update({"batch": 0}), "config.data.batch: 0"),
    ],
)
def test_what_would_fail_after_hours_is_refused_at_once(tmp_path, change, said):
    chosen = deck.get_config("demo")
    change(chosen)
    with pytest.raises(ConfigError, match=said):
        deck_plan.make_plan(chosen, tmp_path)


def test_a_store_that_is_complete_is_not_made_again(tmp_path):
    """An interruption between the store and the stage's record must not block the stage."""
    tiny.write_store(tmp_path / "store")
    before = (tmp_path / "store" / "manifest.json").read_bytes()
    stages.make_phantoms({"count": 2}, tmp_path, {})
    stages.prepare_real({"input": "nowhere", "test": (), "validation": ()}, tmp_path, {})
    assert (tmp_path / "store" / "manifest.json").read_bytes() == before
