"""Denoisers and critics by name. A new one is a file and a row here, or comes from a plug-in."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from cpca_jax.errors import ConfigError
from cpca_jax.layers import FINAL_ACTIVATIONS, PADDINGS
from cpca_jax.registry import Registry, near
from cpca_jax.types import DenoisingNetwork, Params

# A row is imported when it is looked up: denoising with CPCA loads no critic.
MODELS: Registry[type[nn.Module]] = Registry(
    "model",
    {
        "cpca": "cpca_jax.models.cpca:CPCA",
        "cnn": "cpca_jax.models.cnn:CNN",
        "red_cnn": "cpca_jax.models.red_cnn:REDCNN",
        "gan3d": "cpca_jax.models.gan3d:GAN3D",
        "cascade": "cpca_jax.models.cascade:Cascade",
        "wgan_vgg": "cpca_jax.models.wgan_vgg:WGANVGG",
        "map_nn": "cpca_jax.models.map_nn:MAPNN",
    },
)
CRITICS: Registry[type[nn.Module]] = Registry(
    "critic",
    {
        "wgan_vgg": "cpca_jax.models.critic:Critic",
        "gan3d": "cpca_jax.models.gan3d:GAN3DDiscriminator",
    },
)

# The allowed values of a field, in whichever network it occurs.
ALLOWED: dict[str, tuple[Any, ...]] = {
    "final_activation": tuple(FINAL_ACTIVATIONS),
    "padding": PADDINGS,
}


def register(name: str, network: type[nn.Module]) -> None:
    """Add a denoiser; docs/networks.md describes the contract it must keep.

    Args:
        name: its name in `config.model.name`.
        network: a Flax module class.

    Raises:
        ConfigError: the name is taken.
    """
    MODELS.register(name, network)


def build_generator(name: str, *, slices: int = 1, **fields: Any) -> DenoisingNetwork:
    """Build the denoiser called `name` for `slices` neighbouring slices.

    Every denoiser maps (batch, z, y, x, 1) to (batch, z - slices + 1, y, x, 1) in network range;
    the shapes of a denoiser from outside are checked here.

    Raises:
        ConfigError: an unknown name, field or value (the message lists the allowed ones), or a
            network that breaks the contract.
    """
    kind = MODELS.pick(name, "config.model.name")
    if "slices" in fields_of(kind):
        fields["slices"] = slices
    elif slices != 1:
        raise ConfigError(
            f"config.model.slices: {slices}; {name} has no field 'slices', it must be 1"
        )
    network: DenoisingNetwork = _build("model", kind, name, fields)
    if not kind.__module__.startswith("cpca_jax."):
        from cpca_jax.models.contract import require_network

        require_network(network, name)
    return network


def build_critic(name: str, **fields: Any) -> nn.Module:
    """Build the critic called `name`, which gives one score for each example in network range.

    An example is a single slice (y, x, 1), or, where the critic's `slices` is more than 1, a
    slab (slices, y, x, 1).

    Raises:
        ConfigError: an unknown name or field; the message lists the allowed ones.
    """
    critic: nn.Module = _build("critic", CRITICS.pick(name, "config.critic.name"), name, fields)
    return critic


def require_field(key: str, name: str, field: str, known: list[str]) -> None:
    """Refuse a field that the network called `name` does not have.

    Args:
        key: the key of the field in a configuration.
        name: the name of the network.
        field: the name of the field.
        known: the fields that the network has.

    Raises:
        ConfigError: there is no such field; the message names those that there are.
    """
    if field not in known:
        raise ConfigError(
            f"{key}: {name} has no such field; it has {', '.join(known)}{near(field, known)}"
        )


def fields_of(kind: type[Any]) -> list[str]:
    """Return the names of a network's own fields."""
    names = [field.name for field in dataclasses.fields(kind)]
    return [name for name in names if name not in {"parent", "name"}]


def _build(part: str, kind: type[Any], name: str, fields: Mapping[str, Any]) -> Any:
    known = fields_of(kind)
    for field, value in fields.items():
        key = f"config.{part}.{field}" if field == "slices" else f"config.{part}.fields.{field}"
        require_field(key, name, field, known)
        allowed = kind.allowed_slices if _limits(kind, field) else ALLOWED.get(field)
        if allowed is not None and value not in allowed:
            raise ConfigError(f"{key}: {value!r} is not one of {allowed}")
    return kind(**fields)


def _limits(kind: type[Any], field: str) -> bool:
    return field == "slices" and hasattr(kind, "allowed_slices")


def count_weights(params: Params) -> int:
    """Return the number of trainable weights in a parameter tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
