"""The README's commands and links are true."""

import re

from conftest import CHECKOUT

README = (CHECKOUT / "README.md").read_text()


def test_links_and_files_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (CHECKOUT / target).exists(), target
    for name in re.findall(r"configs/\w+\.py", README):
        assert (CHECKOUT / name).exists(), name


def test_the_two_commands_are_marked_for_ci():
    for name in ("demo", "test"):
        assert f"<!-- ci: {name} -->\n```\npython3 -m venv .venv" in README
