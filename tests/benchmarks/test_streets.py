"""Imports between the packages of benchmarks/ point one way, and few files know PyTorch."""

import ast

import pytest
from conftest import CHECKOUT

import benchmarks

ROOT = CHECKOUT / "benchmarks"
# From the ground up: a module imports from its own package and from those before it.
STREETS = ["measuring", "subjects", "peers", "harness", "predictions", "programs"]
FILES = sorted(ROOT.rglob("*.py"))


def imports(tree):
    """Return the dotted names that the nodes of a tree import."""
    names = []
    for node in tree:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def test_imports_between_packages_point_one_way():
    assert [path.parent.name for path in sorted(ROOT.glob("*/__init__.py"))] == sorted(STREETS)
    assert [path.name for path in ROOT.glob("*.py")] == ["__init__.py"]
    for path in FILES:
        first = path.relative_to(ROOT).parts[0]
        here = STREETS.index(first) if first in STREETS else -1
        for name in imports(ast.walk(ast.parse(path.read_text()))):
            if name.startswith("benchmarks."):
                other = name.split(".")[1]
                assert STREETS.index(other) <= here, f"{path}: {name}"


def test_modules_do_not_import_each_other_in_a_circle():
    graph = {
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts): imports(
            ast.walk(ast.parse(path.read_text()))
        )
        for path in FILES
    }
    done, entered = set(), []

    def visit(module):
        assert module not in entered, f"circle: {' -> '.join([*entered, module])}"
        if module in done:
            return
        entered.append(module)
        for name in graph[module]:
            for other in {name, name.rpartition(".")[0]} & (graph.keys() - {module}):
                visit(other)
        done.add(entered.pop())

    for module in graph:
        visit(module)


@pytest.mark.parametrize(
    "path",
    [*FILES, *CHECKOUT.glob("*.py"), *(CHECKOUT / "cpca_jax").rglob("*.py")],
    ids=lambda path: str(path.relative_to(CHECKOUT)),
)
def test_pytorch_is_known_to_its_own_files_only(path):
    """They are imported in a function, so that everything else works without PyTorch."""
    if path.parent == ROOT / "peers" and path.name.startswith("torch_"):
        return
    tree = ast.parse(path.read_text())
    assert not [name for name in imports(ast.walk(tree)) if name.split(".")[0] == "torch"]
    assert not [name for name in imports(tree.body) if "benchmarks.peers.torch_" in name]


def test_the_list_of_packages_in_the_docstring_is_in_order():
    listed = [line.split()[0] for line in benchmarks.__doc__.splitlines() if line[:4] == "    "]
    assert listed == STREETS
