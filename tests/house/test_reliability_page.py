"""Every test that docs/reliability.md names is there."""

import ast
import re

from conftest import CHECKOUT

PAGE = CHECKOUT / "docs" / "reliability.md"


def test_every_named_test_is_there():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE.read_text())
    assert len(named) >= 20
    for path, name in named:
        tree = ast.parse((CHECKOUT / "tests" / path).read_text())
        there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in there, f"{path} has no {name}"
