"""The check that a network from outside keeps the contract of `types.DenoisingNetwork`.

docs/networks.md describes the contract for authors of networks. Nothing is computed: only shapes
are evaluated, once, when a network is built.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cpca_jax.errors import ConfigError
from cpca_jax.layers import STATISTICS, BatchNorm

# The slab for the evaluation has this many rows and columns more than the smallest allowed one.
_SPARE = (7, 4)


def require_network(network: Any, name: str) -> None:
    """Refuse a network that does not keep the contract of `DenoisingNetwork`.

    Args:
        network: a Flax module.
        name: the name of the network, for messages.

    Raises:
        ConfigError: the network breaks the contract; the message says what would be right.
    """
    _require_fields(network, name)
    answer, depth = _shapes(network, name)
    edge_y, edge_x = (network.smallest_edge + spare for spare in _SPARE)
    if answer.ndim != 5:
        raise _broken(
            name, f"gives {answer.ndim} axes for (batch, z, y, x, 1); it must give the same five"
        )
    wanted = (2, depth - network.slices + 1, edge_y, edge_x, 1)
    if answer.shape[1] == depth and network.slices > 1:
        raise _broken(
            name,
            f"keeps all {depth} slices of a slab; with slices = {network.slices} it must give the "
            f"{wanted[1]} centres that have all their neighbours",
        )
    if answer.shape != wanted:
        raise _broken(name, f"gives {answer.shape} for z = {depth}; it must give {wanted}")
    if answer.dtype != jnp.float32:
        raise _broken(name, f"answers in {answer.dtype}; it must be float32 whatever the dtype is")


def _require_fields(network: Any, name: str) -> None:
    """Refuse a module without the fields and attributes that training and denoising read."""
    fields = getattr(network, "__dataclass_fields__", {})
    if "dtype" not in fields:
        raise _broken(
            name,
            "has no field 'dtype'; it must have one, jnp.float32 by default, and compute in it, so "
            "that config.compute.precision holds",
        )
    for attribute in ("slices", "smallest_edge"):
        value = getattr(network, attribute, None)
        if type(value) is not int or value < 1:
            raise _broken(
                name, f"has {attribute} = {value!r}; it must be a whole number of 1 or more"
            )
    if network.slices % 2 == 0:
        raise _broken(name, f"has slices = {network.slices}; it must be odd")


def _shapes(network: Any, name: str) -> tuple[jax.ShapeDtypeStruct, int]:
    """Return the shape of the answer to a slab two slices thicker than needed, and that depth."""
    depth = network.slices + 2
    edges = [network.smallest_edge + spare for spare in _SPARE]
    slab = jax.ShapeDtypeStruct((2, depth, *edges, 1), jnp.float32)
    foreign: list[str] = []

    def watch(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        own = isinstance(context.module, BatchNorm)
        if isinstance(context.module, nn.BatchNorm) and not own:
            foreign.append(context.module.name or "BatchNorm")
            raise _ForeignNormError
        return call(*args, **kwargs)

    try:
        with nn.intercept_methods(watch):
            variables = jax.eval_shape(network.init, jax.random.key(0), slab)
            answer = jax.eval_shape(network.apply, variables, slab)
    except _ForeignNormError:
        raise _broken(
            name,
            f"normalises by flax's own BatchNorm ({foreign[0]}), whose moments a training would "
            "not keep; it must be cpca_jax.layers.BatchNorm",
        ) from None
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _broken(
            name, f"cannot take a slab (batch, z, y, x, 1) of {slab.shape}: {reason}"
        ) from error
    others = sorted(set(variables) - {"params", STATISTICS})
    if others:
        raise _broken(
            name, f"keeps the collection '{others[0]}'; all that it keeps must be parameters"
        )
    if not isinstance(answer, jax.ShapeDtypeStruct):
        raise _broken(name, "gives several values; it must give one array")
    return answer, depth


class _ForeignNormError(Exception):
    """A network calls flax's own batch normalisation."""


def _broken(name: str, problem: str) -> ConfigError:
    return ConfigError(f"model {name}: {problem} (docs/networks.md)")
