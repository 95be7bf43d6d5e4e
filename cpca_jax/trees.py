"""Parameter trees by name: leaves under the path that leads to them, joined with "/"."""

from collections.abc import Mapping

import jax

from cpca_jax.types import Leaf, Params


def by_name(tree: Params) -> dict[str, Leaf]:
    """Leaves of a tree by name, such as "conv1/kernel", in the tree's own order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def like(tree: Params, leaves: Mapping[str, Leaf]) -> Params:
    """A tree of the same structure with other leaves, given in the order of `by_name`."""
    return jax.tree.unflatten(jax.tree.structure(tree), leaves.values())


def replaced(tree: Params, leaves: Mapping[str, Leaf]) -> Params:
    """The tree with some of its leaves replaced, by name."""
    own = by_name(tree)
    return like(tree, {name: leaves.get(name, leaf) for name, leaf in own.items()})
