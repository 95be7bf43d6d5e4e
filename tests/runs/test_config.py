"""Parsing of configurations: refusals name the key, and sound values are unchanged."""

import dataclasses
import importlib
import json

import pytest
from conftest import CHECKOUT

from cpca_jax import configs
from cpca_jax.configs import base, deck
from cpca_jax.errors import ConfigError
from cpca_jax.runs import bounds, config, settings
from cpca_jax.training.experiment import build_networks
from cpca_jax.training.resume import differences

FILES = (CHECKOUT / "configs").glob("[!_]*.py")
# deck.py is many experiments, not one: tests/reproduction/test_plan.py parses each of them.
CONFIGS = sorted(path.stem for path in FILES if path.stem != "deck")
FOR_TWO_CORES = [name for name in CONFIGS if name not in {"base", "demo", "penalties"}]


def refused(chosen, said):
    with pytest.raises(ConfigError) as error:
        config.parse(chosen)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration_parses_and_builds(name):
    experiment = config.parse(importlib.import_module(f"cpca_jax.configs.{name}").get_config())
    networks = build_networks(experiment)
    assert networks.geometry.slices == experiment.model.slices
    assert (networks.adversary is not None) == (experiment.loss.adversarial > 0)


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_stay_short_and_say_their_command(name):
    text = (CHECKOUT / "configs" / f"{name}.py").read_text()
    if name != "base":
        assert f"--config configs/{name}.py" in text
        assert len(text.splitlines()) <= 50


def test_json_gives_the_same_experiment_back():
    chosen = base.get_config()
    chosen.critic.fields.features = (4, 4)
    experiment = config.parse(chosen)
    assert config.parse(json.loads(config.to_json(experiment))) == experiment


def test_the_decks_numbers_are_the_defaults():
    e = config.parse(base.get_config())
    assert (e.data.patch, e.data.batch, e.train.total_steps) == (64, 128, 40_000)
    assert (e.loss.perceptual, e.loss.penalty_weight, e.loss.critic_steps) == (0.1, 10.0, 4)
    assert (e.optim.learning_rate, e.data.window_hu) == (1e-4, (-300.0, 300.0))
    assert (e.perceptual.network, e.perceptual.tap) == ("vgg19", "relu5_4")


def test_unknown_and_missing_keys_are_refused_by_name():
    chosen = base.get_config().to_dict()
    chosen["optim"]["momentum"] = 0.5
    refused(chosen, "config.optim.momentum: no such key; there are learning_rate")
    chosen["optim"]["learning_rat"] = chosen["optim"].pop("momentum")
    refused(chosen, "; did you mean 'learning_rate'?")
    chosen["optim"]["momentum"] = chosen["optim"].pop("learning_rat")
    del chosen["optim"]["momentum"], chosen["train"]["seed"]
    refused(chosen, "config.train.seed: missing")


@pytest.mark.parametrize(
    ("group", "key", "value", "said"),
    [
        ("train", "epochs", "many", "config.train.epochs: 'many'; it must be of type int"),
        ("train", "seed", True, "config.train.seed: True; it must be of type int"),
        ("optim", "learning_rate", 0.0, "config.optim.learning_rate: 0.0; it must be positive"),
        ("optim", "learning_rate", float("nan"), "it must be finite"),
        ("loss", "perceptual", -0.1, "config.loss.perceptual: -0.1; it must be zero or more"),
        ("model", "slices", 4, "config.model.slices: 4; it must be odd"),
        ("data", "window_hu", [300.0, -300.0], "config.data.window_hu"),
        ("data", "kernels", "B30f", "config.data.kernels: 'B30f'; it must be a list"),
        ("data", "patch", 0, "config.data.patch: 0; it must be positive"),
        ("train", "steps_per_epoch", 0, "config.train.steps_per_epoch: 0"),
    ],
)
def test_impossible_values_are_refused_by_name(group, key, value, said):
    chosen = base.get_config().to_dict()
    chosen[group][key] = value
    refused(chosen, said)


def test_every_field_says_what_it_means():
    for group in dataclasses.fields(settings.Experiment):
        kind = group.default_factory
        for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else [group]:
            text = bounds.about(field).text
            assert text.endswith("."), field.name
            assert "deck" not in text or bounds.about(field).source


def test_names_of_rows_are_not_checked_here():
    """A run whose penalty only its plug-in knows can still be read, scored and used."""
    chosen = base.get_config()
    chosen.loss.penalty, chosen.model.name = "theirs", "their_network"
    assert config.parse(chosen).loss.penalty == "theirs"


@pytest.mark.parametrize("name", CONFIGS)
def test_an_unknown_variant_is_refused_with_those_there_are(name):
    with pytest.raises(ConfigError) as error:
        configs.load(str(CHECKOUT / "configs" / f"{name}.py:cpuu"))
    if name == "base":
        assert "this experiment has no variants" in str(error.value)
    else:
        assert f"--config: {name}:cpuu: 'cpuu' is not one of its variants" in str(error.value)
    if name in FOR_TWO_CORES:
        assert str(error.value).endswith("cpu; did you mean 'cpu'?")


@pytest.mark.parametrize("name", FOR_TWO_CORES)
def test_every_experiment_has_a_size_for_two_cores(name):
    small, whole = (configs.load(f"{name}{variant}") for variant in (":cpu", ""))
    small, whole = config.parse(small), config.parse(whole)
    assert small.model.name == whole.model.name
    assert small.model.slices == whole.model.slices
    assert small.train.total_steps <= 1000
    assert small.perceptual.network == "vgg16"


def test_a_short_fine_tuning_goes_on_where_the_short_training_ended():
    flat = config.parse(configs.load("cpca1:cpu"))
    for slices in (3, 5, 7):
        deep = config.parse(configs.load(f"cpca{slices}_transfer:cpu"))
        assert deep.transfer.step == 0
        assert deep.optim.first_epoch == flat.train.epochs
        assert deep.optim.learning_rate == flat.optim.learning_rate / 2
        assert deep.train.total_steps < flat.train.total_steps
        assert deep.critic == flat.critic


def test_a_name_and_a_file_are_the_same_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_path = configs.load(f"{CHECKOUT / 'configs' / 'cpca3_transfer.py'}:cpu")
    assert by_path.to_dict() == configs.load("cpca3_transfer:cpu").to_dict()


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("cpca3_transfr", "did you mean 'cpca3_transfer'?; a file of your own ends in .py"),
        ("base", "'base' is not a built-in experiment"),
        ("none.py:cpu", "--config: none.py: no such file"),
        ("folder/cpca1", "'folder/cpca1' must be NAME, NAME:VARIANT or a file, FILE.py"),
    ],
)
def test_an_unknown_experiment_is_refused(choice, said):
    with pytest.raises(ConfigError) as error:
        configs.load(choice)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('oh')", "own.py: RuntimeError: oh"),
        ("", "has no attribute 'get_config'"),
        ("def get_config():\n    return {}", "get_config must return a ConfigDict"),
        ("def get_config(:", "own.py: SyntaxError"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(tmp_path, text, said):
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(ConfigError) as error:
        configs.load(str(tmp_path / "own.py"))
    assert said in str(error.value)


def test_a_file_that_was_changed_is_read_again(tmp_path):
    own = tmp_path / "own.py"
    text = "from cpca_jax.configs import base\n\ndef get_config():\n    c = base.get_config()\n"
    for batch in (3, 14):
        own.write_text(f"{text}    c.data.batch = {batch}\n    return c\n")
        assert configs.load(str(own)).data.batch == batch


def test_an_objective_without_any_weight_is_refused():
    chosen = base.get_config().to_dict()
    chosen["loss"] |= {"adversarial": 0.0, "perceptual": 0.0}
    refused(chosen, "at least one term")


def leaves(chosen, path=""):
    for name, value in chosen.items():
        inner = f"{path}.{name}"
        yield from leaves(value, inner) if hasattr(value, "items") else [(inner, value)]


@pytest.mark.parametrize("chosen", [base.get_config(), *map(deck.get_config, deck.SCALES)])
def test_every_field_can_be_changed_on_the_command_line(chosen):
    """The command line can change tuples but not lists."""
    assert [path for path, value in leaves(chosen) if isinstance(value, list)] == []


def test_differences_name_the_field_and_both_values():
    ours, theirs = base.get_config(), base.get_config()
    theirs.optim.beta1 = 0.5
    lines = differences(config.parse(ours), config.parse(theirs))
    assert lines == ["optim.beta1: 0.9 here, 0.5 there"]


def test_a_run_from_before_a_field_was_there_has_its_default():
    written = json.loads(config.to_json(config.parse(base.get_config())))
    del written["data"]["folds"], written["data"]["fold"], written["compute"], written["plugins"]
    read = config.parse(written)
    assert (read.data.folds, read.compute.precision, read.plugins) == (0, "float32", ())
    del written["data"]["patch"]
    refused(written, "config.data.patch: missing")


def test_the_transfers_first_rate_is_the_decks():
    from cpca_jax.configs import cpca3_transfer
    from cpca_jax.training.optim import schedule_factor

    optim = config.parse(cpca3_transfer.get_config()).optim
    import jax.numpy as jnp

    rate = optim.learning_rate * schedule_factor(optim, jnp.int32(0), 1000)
    assert float(rate) == pytest.approx(0.5e-4)
