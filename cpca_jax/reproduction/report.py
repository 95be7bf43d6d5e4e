"""The page at the end of a reproduction: the results of the deck with our numbers."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cpca_jax.evaluation import report
from cpca_jax.metrics.table import drawn
from cpca_jax.reproduction import claims, deck_values, tables
from cpca_jax.runs import checkpoints
from cpca_jax.runtime import files, pages, run_log

Folds = dict[int, dict[float, dict[str, float]]]
Curves = dict[str, list[dict[str, float]]]


@dataclasses.dataclass(frozen=True)
class Results:
    """The numbers of every stage.

    Attributes:
        about: The scale, rows, slices of the 3D networks, questions, first epoch of fine-tuning,
            and one sentence on where and in what time it was made.
        table: The metrics.json of the table's evaluation.
        methods: The rows of that evaluation's slices.csv, by method.
        curves: The validation scores of every training; epochs count from the start of the 2D
            training.
        found: The rows of detectability.json.
        folds: The scores of the sweep by fold, by value and by metric.
        field: The swept setting.
        real: The same as `methods` for real scans; empty without any.
        real_table: The same as `table` for real scans; empty without any.
    """

    about: Mapping[str, Any]
    table: Mapping[str, Any]
    methods: tables.Methods
    curves: Curves
    found: Sequence[Mapping[str, Any]]
    folds: Folds
    field: str
    real: tables.Methods
    real_table: Mapping[str, Any]

    @property
    def findings(self) -> list[claims.Finding]:
        """The deck's claims, tested on these numbers."""
        deep, first = self.about["deep"], self.about["first"]
        return claims.find(self.methods, self.curves, deep=deep, first=first)

    @property
    def note(self) -> str:
        """The protocol and the feature network behind the scores of curves and tables."""
        return f"protocol {self.table['protocol']}, {self.table['feature_network']}"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text cells: the heads of its columns, and its rows."""

    heads: Sequence[str]
    rows: tables.Rows


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Every method on the same whole slices.

    Attributes:
        store: The origin of the slices.
        slices: The number of slices.
        patients: The number of their patients.
        methods: The means with their intervals, method by method.
        steps: The comparison of each method with the one above it.
    """

    store: str
    slices: int
    patients: int
    methods: Table
    steps: Table


@dataclasses.dataclass(frozen=True, eq=False)
class Page:
    """The data of reproduction.jinja.

    Attributes:
        about: As in `Results`.
        protocol: The meaning of the scores.
        feature_network: The feature network of the perceptual distance.
        findings: The deck's claims and the verdicts on them.
        phantoms: The methods on whole slices of test phantoms.
        real: The methods on whole slices of real scans; None without any.
        cases: The names of the case studies among the pictures.
        detectability: The observer's scores.
        less_visible: The words that mark a loss among them.
        field: The swept setting.
        folds: The number of parts that were held out one after another.
        sweep: The scores by value of the setting.
        best: Pairs of a metric and the value of the setting that is best for it.
        pictures: The PNG files by name.
    """

    about: Mapping[str, Any]
    protocol: str
    feature_network: str
    findings: Table
    phantoms: Comparison
    real: Comparison | None
    cases: Sequence[str]
    detectability: Table
    less_visible: str
    field: str
    folds: int
    sweep: Table
    best: Sequence[tuple[str, str]]
    pictures: Mapping[str, bytes]


def write(
    folder: Path, *, about: Mapping[str, Any], runs: Mapping[str, Path], found: Mapping[str, Path]
) -> None:
    """Write report.html, report.md, the figures and every table as CSV.

    Args:
        folder: The folder to write to.
        about: As in `Results`.
        runs: The folder of each training, by its name.
        found: The folders of the stages "table", "cases", "detectability", "lambda" and, with real
            scans, "real-table".
    """
    results = _read(about, runs, found)
    figures = dict(_draw(folder, results))
    figures |= {path.stem: path.read_bytes() for path in sorted(found["cases"].glob("case-*.png"))}
    _write_csvs(folder, results)
    page = _make_page(results, figures)
    # For the owner only, because case studies may show patients. The Markdown leaves them out.
    html = pages.render("reproduction.html.jinja", page)
    files.write_file(folder / "report.html", html.encode())
    markdown = pages.render("reproduction.md.jinja", page)
    files.write_file(folder / "report.md", markdown.encode())


def _read(about: Mapping[str, Any], runs: Mapping[str, Path], found: Mapping[str, Path]) -> Results:
    swept = json.loads((found["lambda"] / "sweep.json").read_text())
    folds = {
        int(fold): {float(value): scores for value, scores in by_value.items()}
        for fold, by_value in swept["folds"].items()
    }
    real = found.get("real-table")
    return Results(
        about=about,
        table=json.loads((found["table"] / "metrics.json").read_text()),
        methods=tables.read_slices(found["table"] / "slices.csv"),
        curves={name: _curve(run) for name, run in runs.items()},
        found=json.loads((found["detectability"] / "detectability.json").read_text()),
        folds=folds,
        field=swept["field"],
        real=tables.read_slices(real / "slices.csv") if real else {},
        real_table=json.loads((real / "metrics.json").read_text()) if real else {},
    )


def _curve(run: Path) -> list[dict[str, float]]:
    """Return the lines of validation.jsonl, epochs counted from the start of the 2D training."""
    first = checkpoints.read_config(run)["optim"]["first_epoch"]
    needed = {"epoch", *drawn(), *(f"low_{name}" for name in drawn())}
    lines = run_log.read_jsonl(run / "validation.jsonl")
    return [{**line, "epoch": line["epoch"] + first} for line in lines if needed <= line.keys()]


def _draw(folder: Path, results: Results) -> Iterator[tuple[str, bytes]]:
    """Draw every figure of curves; yield its name and its PNG."""
    deep = results.about["deep"]
    wanted = {f"scratch-{i}": [f"CPCA-{i}"] for i in (1, *deep)}
    wanted |= {f"transfer-{i}": ["CPCA-1", f"CPCA-{i}", f"CPCA_TF-{i}"] for i in deep}
    wanted["filters"] = [name for name in results.about["questions"] if "critic" not in name]
    tuned = f"CPCA_TF-{deep[0]}"
    wanted["critics"] = [tuned, *(n for n in results.about["questions"] if "critic" in n)]
    for name, trainings in wanted.items():
        path = folder / f"{name}.png"
        report.draw_curves(path, {results.note: {t: results.curves[t] for t in trainings}})
        yield name, path.read_bytes()
    path = folder / "lambda.png"
    report.draw_sweep(path, results.field, results.folds, results.note)
    yield "lambda", path.read_bytes()


def _write_csvs(folder: Path, results: Results) -> None:
    for prefix, methods, table in (
        ("", results.methods, results.table),
        ("real-", results.real, results.real_table),
    ):
        if methods:
            slices = [row for rows in methods.values() for row in rows]
            report.write_csv(folder / f"{prefix}slices.csv", slices)
            report.write_csv(folder / f"{prefix}table.csv", table["rows"])
    curves = [{"training": t, **line} for t, lines in results.curves.items() for line in lines]
    sweep = [
        {"fold": fold, results.field: value, **scores}
        for fold, by_value in results.folds.items()
        for value, scores in by_value.items()
    ]
    report.write_csv(folder / "curves.csv", curves)
    report.write_csv(folder / "lambda.csv", sweep)
    report.write_csv(folder / "orderings.csv", [dataclasses.asdict(f) for f in results.findings])
    found = [
        {"method": row["method"], "radius_mm": row["radius_mm"], "contrast_hu": row["contrast_hu"]}
        | {
            f"{n}_{k}": row[n][k]
            for n in ("d_prime", "auc", "gain")
            for k in ("mean", "low", "high")
        }
        for row in results.found
    ]
    report.write_csv(folder / "detectability.csv", found)


def _make_page(results: Results, figures: Mapping[str, bytes]) -> Page:
    """Return the data of the page, with every table as rows of text."""
    real = _compare(results.real, results.real_table) if results.real else None
    observed = tables.detectability_rows(results.found, results.methods)
    best = tables.best_values(results.folds)
    return Page(
        about=results.about,
        protocol=results.table["protocol_description"],
        feature_network=results.table["feature_network"],
        findings=Table(tables.ORDER_HEADS, [dataclasses.astuple(f) for f in results.findings]),
        phantoms=_compare(results.methods, results.table),
        real=real,
        cases=[name for name in figures if name.startswith("case-")],
        detectability=Table(tables.FOUND_HEADS, observed),
        less_visible=tables.LESS_VISIBLE,
        field=results.field,
        folds=len(results.folds),
        sweep=Table(tables.sweep_heads(), tables.sweep_rows(results.folds)),
        best=[(metric, f"{value:g}") for metric, value in best.items()],
        pictures=figures,
    )


def _compare(methods: tables.Methods, about: Mapping[str, Any]) -> Comparison:
    """Return the comparison; for the deck's patients, its numbers stand beside ours."""
    patients = {row["patient"] for rows in methods.values() for row in rows}
    printed = patients <= deck_values.MAYO_PATIENTS
    heads = tables.table_heads() + (tables.PRINTED_HEADS if printed else ())
    return Comparison(
        store=about["store"],
        slices=about["rows"][0]["slices"],
        patients=len(patients),
        methods=Table(heads, tables.table_rows(methods, printed=printed)),
        steps=Table(tables.step_heads(), tables.step_rows(methods)),
    )
