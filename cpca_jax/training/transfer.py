"""2D to 3D transfer: a mapping over parameter trees, without any network or disk.

In the deck, a 2D filter H becomes B = [0, H, 0], so that the 3D network starts where the 2D one
ended and learns from there to use the neighbouring slices. Names are the contract: a leaf of the
target takes the source's leaf of the same name, copied where the shapes are equal, inflated where
the target has more leading axes (2D to 3D, and on to 4D).
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from cpca_jax.errors import CheckpointError, ConfigError
from cpca_jax.registry import Registry
from cpca_jax.runs.state import Player
from cpca_jax.trees import by_name, like
from cpca_jax.types import Params

Kernel = Float[Array, "..."]
Rules = Sequence[tuple[str, str]]


def centre(kernel: Kernel, size: int) -> Kernel:
    """Return [0, H, 0], the deck's rule: 3D equals 2D on any volume."""
    return jnp.zeros((size, *kernel.shape), kernel.dtype).at[size // 2].set(kernel)


def average(kernel: Kernel, size: int) -> Kernel:
    """Return [H/k, ..., H/k]: 3D equals 2D only on volumes that do not change along z."""
    return jnp.broadcast_to(kernel / size, (size, *kernel.shape))


def symmetric(kernel: Kernel, size: int) -> Kernel:
    """Return [H/4, H/2, H/4], for the deck's "closed form by symmetric consideration".

    The deck gives no formula. This is the binomial profile: symmetric in z, falling from the
    centre and summing to H, so that 3D equals 2D on volumes that do not change along z.
    """
    profile = jnp.ones((1,), kernel.dtype)
    for _ in range(size - 1):
        profile = jnp.convolve(profile, jnp.array([0.5, 0.5], kernel.dtype))
    return profile.reshape(size, *[1] * kernel.ndim) * kernel


INFLATIONS: Registry[Callable[[Kernel, int], Kernel]] = Registry(
    "inflation rule", {"centre": centre, "average": average, "symmetric": symmetric}
)
# The rule that takes the leaf from `fresh`: the only way to leave the source's leaf behind.
FRESH = "fresh"
CENTRE_RULES: Rules = ((".*", "centre"),)


@dataclasses.dataclass(frozen=True)
class TransferReport:
    """The names of the leaves, by what was done to them."""

    copied: tuple[str, ...]
    inflated: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        rows = dataclasses.asdict(self).items()
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in rows if names)


def inflate(
    source: Params,
    target_shapes: Params,
    *,
    rules: Rules = CENTRE_RULES,
    fresh: Params | None = None,
) -> tuple[Params, TransferReport]:
    """Map a parameter tree onto a network with more kernel axes.

    With the rule "centre" the inflated network equals the source on the centre slice of any
    volume, to float32 rounding.

    Args:
        source: The trained tree; its leaves may be NumPy or JAX arrays.
        target_shapes: The result of `jax.eval_shape` for the larger network's parameters.
        rules: Pairs of a regular expression and a rule. The first expression that matches the name
            of a leaf (joined with "/") decides how the leaf is inflated if it needs to be: by a
            row of INFLATIONS, or by "fresh".
        fresh: A tree like the target, from which "fresh" leaves are taken.

    Returns:
        A tree with the target's structure, shapes and dtypes, and a report of what was done to
        each leaf.

    Raises:
        CheckpointError: The trees do not fit; one message lists every offending name with both
            shapes.
        ConfigError: A rule is unknown, no rule covers a leaf, or "fresh" is used without a tree.
    """
    have, want = by_name(source), by_name(target_shapes)
    new = {} if fresh is None else by_name(fresh)
    problems = [f"{name}: not in the target" for name in have if name not in want]
    leaves: dict[str, Array] = {}
    done: dict[str, list[str]] = {"copied": [], "inflated": [], FRESH: []}
    for name, shape in want.items():
        rule = _rule(name, rules)
        if rule == FRESH:
            if name not in new:
                raise ConfigError(f"transfer rule 'fresh' for {name}: no fresh parameters given")
            leaves[name] = jnp.asarray(new[name])
            done[FRESH].append(name)
        elif name not in have:
            problems.append(f"{name}: not in the source")
        elif not _fits(have[name].shape, shape.shape):
            problems.append(f"{name}: source {have[name].shape}, target {shape.shape}")
        else:
            same = have[name].shape == shape.shape
            leaves[name] = _grow(jnp.asarray(have[name]), shape, INFLATIONS[rule])
            done["copied" if same else "inflated"].append(name)
    if problems:
        raise CheckpointError("parameters do not fit the network: " + "; ".join(problems))
    report = TransferReport(*(tuple(names) for names in done.values()))
    return like(target_shapes, leaves), report


def inflate_player(
    source: Player, target: Player, *, rules: Rules = CENTRE_RULES, optimizer: bool = True
) -> tuple[Player, TransferReport]:
    """Inflate a player: its parameters and, if asked, its optimiser's moments by the same rules.

    Args:
        source: The trained player.
        target: A new player of the larger network; it gives the shapes and the "fresh" leaves.
        rules: The rules of `inflate`.
        optimizer: True to carry Adam's moments too. New weights start without any.
    """
    params, report = inflate(source.params, target.params, rules=rules, fresh=target.params)
    statistics, _ = inflate(
        source.statistics, target.statistics, rules=rules, fresh=target.statistics
    )
    grown = target.replace(params=params, statistics=statistics)
    if not optimizer:
        return grown, report
    # Moments are named like the parameters they belong to, such as "adam/mu/conv1/kernel".
    under = [*((rf"(?:.*/)?[mn]u/(?:{pattern})", rule) for pattern, rule in rules), *CENTRE_RULES]
    opt_state, _ = inflate(source.opt_state, target.opt_state, rules=under, fresh=target.opt_state)
    return grown.replace(opt_state=opt_state), report


def _grow(leaf: Array, shape: Any, inflation: Callable[[Kernel, int], Kernel]) -> Array:
    """Add the missing leading axes, the innermost first."""
    for size in reversed(shape.shape[: len(shape.shape) - leaf.ndim]):
        leaf = inflation(leaf, size)
    return leaf.astype(shape.dtype)


def _fits(source: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Tell whether shapes are equal, or a kernel of two or more spatial axes lacks leading ones."""
    if source == target:
        return True
    missing = len(target) - len(source)
    return len(source) >= 4 and missing > 0 and target[missing:] == source


def _rule(name: str, rules: Rules) -> str:
    """Return the rule for a leaf; refuse unknown rules and uncovered leaves."""
    for pattern, rule in rules:
        if re.fullmatch(pattern, name):
            if rule != FRESH and rule not in INFLATIONS:
                INFLATIONS.pick(rule, "transfer rule")
            return rule
    raise ConfigError(f"no transfer rule covers the parameter {name}")
