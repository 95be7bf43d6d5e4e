"""The committed results: what their page claims follows from their numbers."""

import csv
import dataclasses
import re

import pytest
from conftest import CHECKOUT

from cpca_jax.reproduction import claims
from cpca_jax.reproduction import tables as tables

RESULTS = sorted(path.parent for path in CHECKOUT.glob("docs/results/*/orderings.csv"))


def test_there_are_results_and_no_pictures_of_slices():
    """Curves and numbers only: case studies and the whole page show slices."""
    assert RESULTS
    for folder in RESULTS:
        names = {path.name for path in folder.iterdir()}
        assert not {name for name in names if name.startswith("case") or name.endswith(".html")}
        linked = re.findall(r"\]\(([^)]+)\)", (folder / "report.md").read_text())
        assert set(linked) <= names
        assert {"README.md", "table.csv", "slices.csv", "curves.csv"} <= names


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def curves(folder):
    found = {}
    for row in read(folder / "curves.csv"):
        training = row.pop("training")
        found.setdefault(training, []).append({name: float(value) for name, value in row.items()})
    return found


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_verdicts_follow_from_slices_and_curves(folder):
    lines = curves(folder)
    deep = sorted(int(name.split("-")[1]) for name in lines if name[8:].isdigit() and "_TF" in name)
    first = int(lines[f"CPCA_TF-{deep[0]}"][0]["epoch"])
    methods = tables.read_slices(folder / "slices.csv")
    found = claims.find(methods, lines, deep=deep, first=first)
    assert [dataclasses.asdict(finding) for finding in found] == read(folder / "orderings.csv")
    page = (folder / "report.md").read_text()
    for finding in found:
        assert f"| {finding.claim} | {finding.deck} | {finding.ours} | {finding.verdict} |" in page


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_the_table_follows_from_slices(folder):
    page = (folder / "report.md").read_text()
    for row in tables.table_rows(tables.read_slices(folder / "slices.csv")):
        assert f"| {' | '.join(row)} |" in page
    assert "case-" not in page
    for row in tables.table_rows(tables.read_slices(folder / "real-slices.csv"), printed=True):
        assert f"| {' | '.join(row)} |" in page
