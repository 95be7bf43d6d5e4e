"""Conversion of runs of version 0.1, whose configuration and trees had another form."""

from collections.abc import Mapping
from typing import Any

from cpca_jax.types import Params

# Batch normalisation's running moments, which were leaves of the parameter tree in version 0.1.
_MOMENTS = {"mean": "mean", "variance": "var"}


def moments_apart(params: Mapping[str, Any]) -> tuple[Params, Params]:
    """Separate the running moments from the parameters and return both."""
    own: dict[str, Any] = {}
    moments: dict[str, Any] = {}
    normalises = {"scale", "bias", *_MOMENTS} == set(params)
    for name, part in params.items():
        if isinstance(part, Mapping):
            own[name], below = moments_apart(part)
            moments |= {name: below} if below else {}
        elif normalises and name in _MOMENTS:
            moments[_MOMENTS[name]] = part
        else:
            own[name] = part
    return own, moments


def named_rules(opt_state: Mapping[str, Any]) -> Params:
    """Return an optimiser's state by the names of its rules; version 0.1 had Adam's alone."""
    if set(opt_state) != {"count", "mu", "nu"}:
        return dict(opt_state)
    mu, nu = (moments_apart(opt_state[name])[0] for name in ("mu", "nu"))
    return {"adam": {"count": opt_state["count"], "mu": mu, "nu": nu}}


def config(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with CNN-Cascade's fields where they are today, in its own model."""
    parts = {
        name: dict(part) if isinstance(part, Mapping) else part for name, part in written.items()
    }
    # What is no mapping is refused by its name later.
    if all(isinstance(parts.get(name), dict) for name in ("train", "data", "model")):
        parts["train"].pop("stages", None)
        hardest = parts["data"].pop("hardest", 1.0)
        if parts["model"].get("name") == "cascade" and hardest != 1.0:
            parts["model"]["fields"] = {**parts["model"]["fields"], "hardest": hardest}
    return parts
