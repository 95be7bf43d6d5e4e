"""The package asks for what requirements.txt pins, and pins what the package asks for."""

import re
import subprocess
import tomllib

import pytest
from conftest import CHECKOUT

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


def names(lines):
    found = (re.match(r"[A-Za-z][\w.-]*", line) for line in lines)
    return {match[0].lower().replace("_", "-") for match in found if match}


def test_ranges_and_pins_name_the_same_packages():
    pinned = names((CHECKOUT / "requirements.txt").read_text().splitlines()) - {"jaxlib"}
    assert names(PROJECT["dependencies"]) == pinned


def test_versions_of_jax_that_compute_wrong_numbers_are_excluded():
    from cpca_jax.programs.launch import BROKEN_JAX

    (jax,) = (line for line in PROJECT["dependencies"] if line.startswith("jax>"))
    assert all(f"!={version}" in jax for version in BROKEN_JAX)


def test_the_lock_holds_every_pin():
    lock = (CHECKOUT / "requirements.lock").read_text()
    for line in (CHECKOUT / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = re.match(r"([\w.-]+)==([\w.]+)", line).groups()
            assert f"{name.lower().replace('_', '-')}=={version}" in lock, line


@pytest.mark.parametrize(
    "path", ["runs/x/config.json", "results/table.md", "stores/x/manifest.json"]
)
def test_what_the_commands_make_is_ignored_by_git(path):
    assert ignored(path)


@pytest.mark.parametrize("path", ["cpca_jax/runs/x.py", "docs/results/x.md", "tests/runs/x.py"])
def test_no_source_is_ignored_by_git(path):
    assert not ignored(path)


def ignored(path):
    if not (CHECKOUT / ".git").exists():
        pytest.skip("not a checkout of git")
    found = subprocess.run(["git", "check-ignore", "-q", path], cwd=CHECKOUT, check=False)
    return found.returncode == 0
