"""The door: what is refused, by name, and what goes through unchanged."""

import importlib
import json

import pytest
from conftest import CHECKOUT

from configs import base, deck
from cpca_jax.errors import ConfigError
from cpca_jax.runs import config
from cpca_jax.training.experiment import build_networks
from cpca_jax.training.resume import differences

FILES = (CHECKOUT / "configs").glob("[!_]*.py")
# deck.py is many experiments, not one: tests/test_reproduction.py parses each of them.
CONFIGS = sorted(path.stem for path in FILES if path.stem != "deck")


def refused(chosen, said):
    with pytest.raises(ConfigError) as error:
        config.parse(chosen)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration_parses_and_builds(name):
    experiment = config.parse(importlib.import_module(f"configs.{name}").get_config())
    networks = build_networks(experiment)
    assert networks.slices == experiment.model.slices
    assert (networks.critic is not None) == (experiment.loss.adversarial > 0)


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
    """Which takes tuples and no lists."""
    assert [path for path, value in leaves(chosen) if isinstance(value, list)] == []


def test_differences_name_the_field_and_both_values():
    ours, theirs = base.get_config(), base.get_config()
    theirs.optim.beta1 = 0.5
    lines = differences(config.parse(ours), config.parse(theirs))
    assert lines == ["optim.beta1: 0.9 here, 0.5 there"]


def test_a_run_from_before_there_were_folds_has_none():
    written = json.loads(config.to_json(config.parse(base.get_config())))
    del written["data"]["folds"], written["data"]["fold"]
    assert config.parse(written).data.folds == 0
    del written["data"]["patch"]
    refused(written, "config.data.patch: missing")


def test_the_transfers_first_rate_is_the_decks():
    from configs import cpca3_transfer
    from cpca_jax.training.optim import schedule_factor

    optim = config.parse(cpca3_transfer.get_config()).optim
    import jax.numpy as jnp

    rate = optim.learning_rate * schedule_factor(optim, jnp.int32(0), 1000)
    assert float(rate) == pytest.approx(0.5e-4)
