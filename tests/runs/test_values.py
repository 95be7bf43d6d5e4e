"""Every field of a configuration and of a network refuses what it cannot be, by its key."""

import dataclasses
import json
import math
import typing

import flax.linen as nn
import jax.numpy as jnp
import pytest
import tiny

from cpca_jax import models, values
from cpca_jax.configs import base
from cpca_jax.errors import ConfigError
from cpca_jax.models import CRITICS, MODELS
from cpca_jax.models.fields import require_fields
from cpca_jax.runs import bounds, config, settings
from cpca_jax.training.experiment import assemble, build_networks

NAN, INF = math.nan, math.inf
WRONG = {
    int: (-1, 8.5, "8", True, None, NAN, [1], 10**12),
    float: ("0.1", True, None, NAN, INF, -INF, [0.1], 10**400),
    bool: (1, 0, "true", None),
    str: (3, None, True, ["a"], 0.5),
    tuple[str, ...]: ("conv1", 3, None, [3], [None], [""], [" "], ["conv1", ""]),
    tuple[float, float]: ([300.0, -300.0], [1.0], [0.0, 1.0, 2.0], [NAN, 1.0], ["a", "b"], "ab"),
    typing.Mapping[str, typing.Any]: (3, "features", [1], None),
}
BAD_PATTERNS = (["["], ["conv1/.*", "(?P<"], ["*"], ["a{99999999999}"])
# Numbers that may be negative: a place on the HU scale.
ANY_SIGN = {"data.air_hu"}
# Names that are looked up later, together with what only a plug-in may add.
NAMED = [
    "data.augmentation",
    "model.name",
    "critic.name",
    "loss.adversarial_form",
    "loss.penalty",
    "perceptual.reduction",
    "perceptual.norm",
    "optim.decay",
    "transfer.rule",
    "transfer.critic",
    "transfer.optimizer",
]
# Texts that are places of files, or that the loader of the feature network judges.
FREE = {"data.store", "transfer.run", "perceptual.weights", "perceptual.network", "perceptual.tap"}


def every_setting():
    for group in dataclasses.fields(settings.Experiment):
        kind = group.default_factory
        inner = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
        for field in inner:
            yield f"{group.name}.{field.name}", typing.get_type_hints(kind)[field.name], field


SETTINGS = {key: (hint, field) for key, hint, field in every_setting()}


def with_value(key, value):
    chosen = base.get_config().to_dict()
    group, _, field = key.partition(".")
    chosen[group][field] = value
    return chosen


def refused_by_key(key, call, *arguments):
    with pytest.raises(ConfigError) as error:
        call(*arguments)
    assert str(error.value).startswith(f"config.{key}"), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", SETTINGS)
def test_every_setting_refuses_what_it_cannot_be(key):
    hint, field = SETTINGS[key]
    kind = next((k for k in WRONG if k == hint), None) or typing.Mapping[str, typing.Any]
    wrong = list(WRONG[kind])
    if hint is float and key not in ANY_SIGN:
        wrong.append(-1.0)
    if bounds.about(field).bound is values.PATTERNS:
        wrong += BAD_PATTERNS
    for value in wrong:
        refused_by_key(key, config.parse, with_value(key, value))
    if hint is str and key not in FREE:
        known = key in NAMED or key == "evaluation.protocol" or bounds.about(field).bound
        assert known, f"nobody refuses an unknown word of {key}"
    config.parse(with_value(key, base.get_config().to_dict()[key.split(".")[0]][field.name]))


@pytest.mark.parametrize("key", NAMED)
def test_every_name_of_a_table_is_looked_up_before_training(key):
    for value in ("nonsense", ""):
        refused_by_key(key, lambda v: build_networks(config.parse(with_value(key, v))), value)


def test_the_protocol_is_looked_up_before_the_store_is_read(tmp_path):
    chosen = tiny.configuration(tmp_path / "nowhere", evaluation__protocol="dek")
    refused_by_key("evaluation.protocol", assemble, chosen)


class Plug(nn.Module):
    """A user's network; the bounds of two of its fields are its own."""

    slices: int = 1
    features: int = 4
    width: int = 3
    rate: float = 0.1
    maybe: int | None = None
    kind: typing.Literal["a", "b"] = "a"
    dtype: typing.Any = jnp.float32

    smallest_edge = 1
    bounds: typing.ClassVar = {"width": values.ODD, "rate": values.SHARE}

    def __call__(self, x):
        return x


class Untyped(nn.Module):
    """A user's network whose annotations only its author's type checker understands."""

    slices: int = 1
    width: "NoSuchName" = 3  # noqa: F821
    dtype: "NoSuchName" = jnp.float32  # noqa: F821

    smallest_edge = 1

    def __call__(self, x):
        return x


@pytest.fixture(autouse=True)
def plugged(monkeypatch):
    rows = dict(MODELS._rows) | {"plug": Plug, "untyped": Untyped}
    monkeypatch.setattr(MODELS, "_rows", rows)


OF_FIELDS = {
    int: (-4, 8.5, 8.0, "8", True, None, NAN, (4,), 2**31),
    float: (-0.5, NAN, INF, "0.1", True, None, (0.1,)),
    bool: (1, "yes", None),
    str: ("nonsense", 3, None, ""),
    tuple: ((), 64, "64", (0, 4, 4), (-4, 4, 4), (8.5, 4, 4), (True, 4, 4), (NAN,), ("4", "4")),
}
NETWORKS = [*(("model", name) for name in MODELS), *(("critic", name) for name in CRITICS)]


@pytest.mark.parametrize(("part", "name"), [*NETWORKS, ("model", "plug"), ("model", "untyped")])
def test_every_field_of_every_network_refuses_what_it_cannot_be(part, name):
    kind = (MODELS if part == "model" else CRITICS)[name]
    checked = 0
    for about in dataclasses.fields(kind):
        field = about.name
        if field in {"parent", "name", "maybe"}:
            continue
        set_elsewhere = field in {"slices", "dtype"}
        wrong = (1, "x") if set_elsewhere else list(OF_FIELDS[type(about.default)])
        if name == "untyped" and field == "width":
            wrong.remove(-4)  # its author declares no bound
        for value in wrong:
            refused_by_key(f"{part}.fields.{field}", require_fields, part, name, {field: value})
        if not set_elsewhere:
            require_fields(part, name, {field: about.default})
            checked += 1
    assert checked > 0
    for field in ("featuress", "parent", "name"):
        refused_by_key(f"{part}.fields.{field}", require_fields, part, name, {field: 3})


@pytest.mark.parametrize("value", [0, -4])
def test_the_number_of_maps(value):
    chosen = base.get_config()
    chosen.model.fields.features = value
    with pytest.raises(ConfigError) as error:
        build_networks(config.parse(chosen))
    assert str(error.value) == f"config.model.fields.features: {value}; it must be 1 or more"


def test_a_choice_of_types_takes_each_of_them():
    require_fields("model", "plug", {"maybe": None})
    require_fields("model", "plug", {"maybe": 3})
    refused_by_key("model.fields.maybe", require_fields, "model", "plug", {"maybe": "3"})


@pytest.mark.parametrize("key", ["train.frozen", "transfer.fresh"])
@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (("conv1",), "'conv1' matches no parameter; there are conv1/kernel, .*'conv1/.\\*'"),
        (("conv1/.*", "conw2/kernel"), "'conw2/kernel' matches .* did you mean 'conv2/kernel'"),
        (("kernel",), "'kernel' matches no parameter"),
        (("CONV1/.*",), "'CONV1/.\\*' matches no parameter"),
    ],
)
def test_each_pattern_must_match_a_parameter(key, patterns, said):
    chosen = with_value(key, patterns)
    with pytest.raises(ConfigError, match=f"^config.{key}: {said}"):
        build_networks(config.parse(chosen))
    build_networks(config.parse(with_value(key, ("conv1/.*", ".*/kernel"))))


def test_total_steps_fit_into_the_counter():
    chosen = with_value("train.epochs", 2**30)
    refused_by_key("train.total_steps", config.parse, chosen)


def test_a_run_from_before_a_bound_is_still_read():
    written = json.loads(config.to_json(config.parse(base.get_config())))
    written["train"]["seed"], written["optim"]["epsilon"] = -1, 0.0
    refused_by_key("optim.epsilon", config.parse, written)
    assert config.parse_run(written).train.seed == -1


def test_a_network_of_a_run_is_built_whatever_its_bounds_are_today():
    network = models.build_generator("red_cnn", init_sd=0.0)
    assert network.init_sd == 0.0
