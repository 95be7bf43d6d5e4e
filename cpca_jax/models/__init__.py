"""Networks by name. A new one is one file and one row here."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from cpca_jax.errors import ConfigError
from cpca_jax.models.cpca import CPCA, FINAL_ACTIVATIONS, SLICES
from cpca_jax.models.critic import Critic

MODELS: dict[str, type[nn.Module]] = {"cpca": CPCA}
CRITICS: dict[str, type[nn.Module]] = {"wgan_vgg": Critic}

# What a field of a network may be, where a wrong value would fail late or not at all.
ALLOWED: dict[type[nn.Module], Mapping[str, tuple[Any, ...]]] = {
    CPCA: {"slices": SLICES, "final_activation": tuple(FINAL_ACTIVATIONS)},
}


def build_generator(name: str, *, slices: int = 1, **fields: Any) -> nn.Module:
    """The denoiser called `name` for `slices` neighbouring slices.

    Every denoiser maps (batch, z, y, x, 1) to (batch, z - slices + 1, y, x, 1) in network range.

    Raises:
        ConfigError: an unknown name, field or value; the message lists the allowed ones.
    """
    return _build("model", MODELS, name, {"slices": slices, **fields})


def build_critic(name: str, **fields: Any) -> nn.Module:
    """The critic called `name`: (batch, y, x, 1) in network range to one score per image.

    Raises:
        ConfigError: an unknown name or field; the message lists the allowed ones.
    """
    return _build("critic", CRITICS, name, fields)


def _build(
    kind: str, table: Mapping[str, type[nn.Module]], name: str, fields: Mapping[str, Any]
) -> nn.Module:
    if name not in table:
        raise ConfigError(f"{kind}.name: '{name}' is not one of {', '.join(sorted(table))}")
    module = table[name]
    known = [f for f in module.__dataclass_fields__ if f not in {"parent", "name"}]
    for field, value in fields.items():
        if field not in known:
            raise ConfigError(f"{kind}.{field}: {name} has no such field; it has {known}")
        allowed = ALLOWED.get(module, {}).get(field)
        if allowed is not None and value not in allowed:
            raise ConfigError(f"{kind}.{field}: {value!r} is not one of {allowed}")
    return module(**fields)
