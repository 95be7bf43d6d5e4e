"""Networks by name. A new one is one file and one row here."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from cpca_jax import trees
from cpca_jax.errors import ConfigError
from cpca_jax.layers.layers import FINAL_ACTIVATIONS, MOMENTS, PADDINGS
from cpca_jax.models import cnn, cpca, gan3d, red_cnn, wgan_vgg
from cpca_jax.models.cascade import Cascade
from cpca_jax.models.cnn import CNN
from cpca_jax.models.cpca import CPCA
from cpca_jax.models.critic import Critic
from cpca_jax.models.gan3d import GAN3D, GAN3DDiscriminator
from cpca_jax.models.map_nn import MAPNN
from cpca_jax.models.red_cnn import REDCNN
from cpca_jax.models.wgan_vgg import WGANVGG
from cpca_jax.types import Params

MODELS: dict[str, type[nn.Module]] = {
    "cpca": CPCA,
    "cnn": CNN,
    "red_cnn": REDCNN,
    "gan3d": GAN3D,
    "cascade": Cascade,
    "wgan_vgg": WGANVGG,
    "map_nn": MAPNN,
}
CRITICS: dict[str, type[nn.Module]] = {"wgan_vgg": Critic, "gan3d": GAN3DDiscriminator}

# What a field may be, whichever network has it, and the slices each network can look at: a
# wrong value would fail late or not at all.
ALLOWED: dict[str, tuple[Any, ...]] = {
    "final_activation": tuple(FINAL_ACTIVATIONS),
    "padding": PADDINGS,
}
SLICES: dict[type[nn.Module], tuple[int, ...]] = {
    CPCA: cpca.SLICES,
    CNN: cnn.SLICES,
    REDCNN: red_cnn.SLICES,
    GAN3D: gan3d.SLICES,
    Cascade: (1,),
    WGANVGG: wgan_vgg.SLICES,
    MAPNN: (1,),
}


def build_generator(name: str, *, slices: int = 1, **fields: Any) -> nn.Module:
    """The denoiser called `name` for `slices` neighbouring slices.

    Every denoiser maps (batch, z, y, x, 1) to (batch, z - slices + 1, y, x, 1) in network range.

    Raises:
        ConfigError: an unknown name, field or value; the message lists the allowed ones.
    """
    return _build("model", MODELS, name, {"slices": slices, **fields})


def build_critic(name: str, **fields: Any) -> nn.Module:
    """The critic called `name`: one score per example, in network range.

    An example is a single slice (y, x, 1), or, where the critic's `slices` is more than 1, a
    slab (slices, y, x, 1).

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
        allowed = SLICES.get(module) if field == "slices" else ALLOWED.get(field)
        if allowed is not None and value not in allowed:
            raise ConfigError(f"{kind}.{field}: {value!r} is not one of {allowed}")
    return module(**fields)


def count_weights(params: Params) -> int:
    """Trainable numbers of a parameter tree: all but batch normalisation's running moments."""
    leaves = trees.by_name(params)
    return sum(leaf.size for name, leaf in leaves.items() if name.split("/")[-1] not in MOMENTS)
