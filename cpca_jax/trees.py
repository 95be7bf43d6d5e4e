"""Parameter trees by name: the name of a leaf is the path that leads to it, joined with "/"."""

from collections.abc import Mapping
from typing import Any

import jax

from cpca_jax.types import Leaf, Params


def by_name(tree: Params) -> dict[str, Leaf]:
    """Return the leaves of a tree by name, such as "conv1/kernel", in the tree's own order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def like(tree: Params, leaves: Mapping[str, Leaf]) -> Params:
    """Return a tree of the same structure with other leaves, given in the order of `by_name`."""
    return jax.tree.unflatten(jax.tree.structure(tree), leaves.values())


def replaced(tree: Params, leaves: Mapping[str, Leaf]) -> Params:
    """Return the tree with some of its leaves replaced, by name."""
    own = by_name(tree)
    return like(tree, {name: leaves.get(name, leaf) for name, leaf in own.items()})


def merged(first: Params, second: Params) -> dict[str, Any]:
    """Return one tree with the leaves of two trees that share no leaf, each at its own place."""
    whole = dict(first)
    for name, part in second.items():
        whole[name] = merged(whole[name], part) if name in whole else part
    return whole


def part(tree: Params, wanted: Params) -> Params:
    """Return the leaves that a tree shares with another one, in that other tree's structure."""
    leaves = by_name(tree)
    return like(wanted, {name: leaves[name] for name in by_name(wanted)})
