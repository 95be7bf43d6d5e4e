"""The README's commands and links are true."""

import re

from conftest import CHECKOUT
from test_architecture import STREETS

README = (CHECKOUT / "README.md").read_text()


def test_links_and_files_exist():
    for target in re.findall(r"\]\(([^)# ]+)", README):
        assert target.startswith("http") or (CHECKOUT / target).exists(), target
    for name in re.findall(r"configs/\w+\.py", README):
        assert (CHECKOUT / name).exists(), name


def test_the_two_commands_are_marked_for_ci():
    for name in ("demo", "test"):
        assert f"<!-- ci: {name} -->\n```\npython3 -m venv .venv" in README


def test_every_marked_command_is_run_by_ci():
    steps = re.findall(r"^step (\w+)$", (CHECKOUT / ".ci" / "run").read_text(), re.MULTILINE)
    assert steps == ["demo", "reproduce", "test", "slow", "install"]
    assert sorted(steps) == sorted(re.findall(r"<!-- ci: (\w+) -->", README))


LINK = re.compile(r"\]\(([\w./]+)#L(\d+) '([^']+)'\)")


def test_links_to_lines_lead_to_what_they_say():
    """The title of a link is part of the line that the link leads to."""
    links = LINK.findall((CHECKOUT / "README.md").read_text())
    assert len(links) >= 20
    for path, number, token in links:
        lines = (CHECKOUT / path).read_text().splitlines()
        there = [k for k, line in enumerate(lines, start=1) if token in line]
        assert int(number) in there, f"{path}: '{token}' stands in lines {there}, not {number}"


def test_pages_that_are_linked_are_there():
    for page in CHECKOUT.glob("docs/*.md"):
        for target in re.findall(r"\]\(([\w./-]+\.(?:md|png|py))\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
    for target in re.findall(r"\]\((docs/[\w.-]+)\)", (CHECKOUT / "README.md").read_text()):
        assert (CHECKOUT / target).exists(), target


def test_the_house_is_told_from_the_ground_up():
    table = README.split("| package of `cpca_jax` | what is in it |\n")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == STREETS


def test_pages_are_linked():
    """Each page of docs/ is one click away."""
    for page in CHECKOUT.glob("docs/*.md"):
        assert f"](docs/{page.name})" in README, page.name
