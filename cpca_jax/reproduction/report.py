"""The page at the end of a reproduction: the deck's slides with our numbers in them."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cpca_jax.evaluation import report
from cpca_jax.reproduction import claims, deck_values, tables
from cpca_jax.reproduction.text import TEXT
from cpca_jax.runs import checkpoints
from cpca_jax.runtime import files, html, logs

Folds = dict[int, dict[float, dict[str, float]]]
Curves = dict[str, list[dict[str, float]]]
TITLE = "Low-dose CT denoising: the deck, reproduced"


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything the page shows, as numbers.

    Attributes:
        about: scale, rows, slices of the 3D networks, questions, first epoch of fine-tuning, and
            in one sentence where and in what time it was made.
        table: metrics.json of the table's evaluation.
        methods: rows of its slices.csv by method.
        curves: validation scores of every training, epochs from the start of the 2D training.
        found: rows of detectability.json.
        folds: scores of the sweep by metric, by value, by fold.
        field: the swept setting.
        real: the same as `methods`, of real scans; empty without.
        real_table: the same as `table`.
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
        """The deck's claims on these numbers."""
        deep, first = self.about["deep"], self.about["first"]
        return claims.find(self.methods, self.curves, deep=deep, first=first)

    @property
    def note(self) -> str:
        """What the scores of curves and tables mean."""
        return f"protocol {self.table['protocol']}, {self.table['feature_network']}"


def write(
    folder: Path, *, about: Mapping[str, Any], runs: Mapping[str, Path], found: Mapping[str, Path]
) -> None:
    """Write report.html, report.md, the figures and every table as CSV.

    Args:
        folder: where to.
        about: what the page says of the configuration.
        runs: folder of each training by its name.
        found: folders of the stages "table", "cases", "detectability", "lambda" and, where there
            were real scans, "real-table".
    """
    results = _read(about, runs, found)
    figures = dict(_draw(folder, results))
    figures |= {path.stem: path.read_bytes() for path in sorted(found["cases"].glob("case-*.png"))}
    _write_csvs(folder, results)
    sections = list(_sections(results, figures))
    # Case studies may show patients.
    page = html.page(TITLE, _html(sections, figures))
    files.write_file(folder / "report.html", page.encode())
    files.write_file(folder / "report.md", _markdown(sections).encode(), shared=True)


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
    """Lines of validation.jsonl, epochs counted from the start of the 2D training."""
    first = checkpoints.read_config(run)["optim"]["first_epoch"]
    lines = logs.read_jsonl(run / "validation.jsonl")
    return [{**line, "epoch": line["epoch"] + first} for line in lines]


def _draw(folder: Path, results: Results) -> Iterator[tuple[str, bytes]]:
    """Every figure of curves by its name."""
    deep = results.about["deep"]
    wanted = {f"scratch-{i}": [f"CPCA-{i}"] for i in (1, *deep)}
    wanted |= {f"transfer-{i}": ["CPCA-1", f"CPCA-{i}", f"CPCA_TF-{i}"] for i in deep}
    wanted["filters"] = [name for name in results.about["questions"] if "critic" not in name]
    tuned = f"CPCA_TF-{deep[0]}"
    wanted["critics"] = [tuned, *(n for n in results.about["questions"] if "critic" in n)]
    for name, trainings in wanted.items():
        path = folder / f"{name}.png"
        report.draw_curves(path, {t: results.curves[t] for t in trainings}, results.note)
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


# A part of the page: ("heading" | "text", words), ("table", (heads, rows)) or ("figure", name).
Section = tuple[str, Any]


def _sections(results: Results, figures: Mapping[str, bytes]) -> Iterator[Section]:
    """The page from top to bottom."""
    deep, table = results.about["deep"], results.table
    yield "text", TEXT["intro"]
    yield "text", f"{TEXT[results.about['scale']]} {results.about['made']}"
    yield "text", f"{table['store']}. {table['protocol_description']}. "
    yield "text", f"Perceptual: mean squared difference of {table['feature_network']}."
    yield "heading", "What of the deck holds here"
    yield "text", TEXT["orderings"]
    yield "table", (tables.ORDER_HEADS, [dataclasses.astuple(f) for f in results.findings])
    yield "heading", "1. Training from scratch"
    yield "text", TEXT["scratch"].format(slices=results.about["validated"])
    for i in (1, *deep):
        yield "figure", f"scratch-{i}"
    yield "heading", "2. Transfer against scratch"
    yield "text", TEXT["transfer"].format(first=results.about["first"])
    for i in deep:
        yield "figure", f"transfer-{i}"
    yield "heading", "3. Whole slices of test patients"
    yield from _table(results.methods, table)
    if results.real:
        yield "heading", "3b. Real scans"
        yield "text", f"{results.real_table['store']}. {TEXT['real']}"
        yield from _table(results.real, results.real_table)
    yield "heading", "4. Case studies"
    yield "text", TEXT["cases"]
    for name in figures:
        if name.startswith("case-"):
            yield "figure", name
    yield "heading", "5. The discussion's questions"
    yield "text", TEXT["filters"]
    yield "figure", "filters"
    yield "text", TEXT["critics"]
    yield "figure", "critics"
    yield "heading", "6. Detectability of low-contrast lesions"
    yield "text", TEXT["observer"].format(**results.about)
    yield "table", (tables.FOUND_HEADS, tables.detectability_rows(results.found, results.methods))
    yield "heading", "7. The weight of the perceptual loss by cross-validation"
    yield "text", TEXT["lambda"].format(field=results.field, folds=len(results.folds))
    yield "table", (tables.sweep_heads(), tables.sweep_rows(results.folds))
    best = ", ".join(f"{m} {value:g}" for m, value in tables.best_values(results.folds).items())
    yield "text", f"Best mean over folds: {best}."
    yield "figure", "lambda"


def _table(methods: tables.Methods, about: Mapping[str, Any]) -> Iterator[Section]:
    """The deck's table with intervals, and each row against the one above it."""
    patients = {row["patient"] for rows in methods.values() for row in rows}
    printed = patients <= deck_values.MAYO_PATIENTS
    heads = tables.table_heads() + (tables.PRINTED_HEADS if printed else ())
    yield "table", (heads, tables.table_rows(methods, printed=printed))
    slices = about["rows"][0]["slices"]
    if len(patients) > 1:
        yield "text", f"{slices} slices of {len(patients)} patients. Intervals: patients resampled."
        yield "text", TEXT["steps"] + TEXT["signs"]
    else:
        yield "text", f"{slices} slices of one patient. Intervals: blocks of its slices resampled."
        yield "text", TEXT["steps"]
    yield "table", (tables.step_heads(), tables.step_rows(methods))


def _html(sections: Sequence[Section], figures: Mapping[str, bytes]) -> Iterator[str]:
    for kind, what in sections:
        if kind == "heading":
            yield html.heading(what)
        elif kind == "text":
            yield html.paragraph(what)
        elif kind == "table":
            yield html.table(*what, marked=tables.LESS_VISIBLE)
        else:
            yield html.figure(figures[what], what)


def _markdown(sections: Sequence[Section]) -> str:
    """The same for reading as text; case studies, which may show patients, are left out."""
    parts = [f"# {TITLE}", ""]
    for kind, what in sections:
        if kind == "heading":
            parts += [f"## {what}", ""]
        elif kind == "text":
            parts += [what.strip(), ""]
        elif kind == "table":
            heads, rows = what
            parts += [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
            parts += [*(f"| {' | '.join(map(str, row))} |" for row in rows), ""]
        elif not what.startswith("case-"):
            parts += [f"![{what}]({what}.png)", ""]
    return "\n".join(parts)
