"""Templates: each one renders, also from a zip file, and nothing is missing or left unescaped."""

import dataclasses
import subprocess
import sys
import zipfile

import jaxtyping
import jinja2
import page_reader
import pytest
from conftest import CHECKOUT

from cpca_jax.denoising import before_after
from cpca_jax.preparation import store_page
from cpca_jax.reproduction import report
from cpca_jax.runtime import pages

TEMPLATES = CHECKOUT / "cpca_jax" / "templates"
SHARED = {"layout.html.jinja", "parts.html.jinja", "parts.md.jinja", "reproduction.jinja"}

RUDE = "<b>&\"'</b>"
TABLE = report.Table([RUDE], [(RUDE,)])
REPRODUCTION = report.Page(
    about={
        "scale": "demo",
        "made": RUDE,
        "deep": [],
        "first": 1,
        "validated": 1,
        "phantoms": 1,
        "rois": 1,
        "readers": 1,
    },
    protocol=RUDE,
    feature_network=RUDE,
    findings=TABLE,
    phantoms=report.Comparison(RUDE, slices=1, patients=1, methods=TABLE, steps=TABLE),
    real=None,
    cases=[],
    detectability=TABLE,
    less_visible="less visible",
    field=RUDE,
    folds=1,
    sweep=TABLE,
    best=[(RUDE, RUDE)],
    pictures=dict.fromkeys(["scratch-1", "filters", "critics", "lambda"], b""),
)
MINIMAL = {
    "series.html.jinja": before_after.Page(RUDE, lead=RUDE, noise=[], tissues=[], png=b""),
    "store.html.jinja": store_page.Page(
        kind=RUDE,
        layout=RUDE,
        pairs=0,
        slices=0,
        patients=0,
        found=[],
        left_out=[RUDE],
        alone=[],
        known_defects=[],
        notes=[],
        refused=[],
        noise=[(RUDE, 5, "no soft tissue", "", "")],
        split_by=RUDE,
        splits=[],
        examples={RUDE: b""},
    ),
    "reproduction.html.jinja": REPRODUCTION,
    "reproduction.md.jinja": REPRODUCTION,
}


def test_every_template_is_one_of_these():
    assert {path.name for path in TEMPLATES.iterdir()} == set(MINIMAL) | SHARED


@pytest.mark.parametrize("name", MINIMAL)
def test_a_page_of_minimal_data_is_whole_and_what_it_shows_is_escaped(name):
    page = pages.render(name, MINIMAL[name])
    if name.endswith(".html.jinja"):
        assert page_reader.read(page)
        assert "<b>" not in page
        assert "&lt;b&gt;&amp;" in page
        assert "&amp;lt;" not in page
    else:
        assert RUDE in page
        assert "&lt;" not in page


@pytest.mark.parametrize("name", [name for name in MINIMAL if ".html." in name])
def test_a_template_uses_every_field_and_misses_none_in_silence(name):
    page = {
        field.name: getattr(MINIMAL[name], field.name)
        for field in dataclasses.fields(MINIMAL[name])
    }
    assert pages.render(name, page) == pages.render(name, MINIMAL[name])
    for field in page:
        less = {key: value for key, value in page.items() if key != field}
        # Where a filter takes it, the tests' type checks are the first to refuse it.
        with pytest.raises((jinja2.UndefinedError, jaxtyping.TypeCheckError)):
            pages.render(name, less)


def test_columns_of_numbers_and_columns_of_words():
    rows = [
        ("L096", 5, "11.4", "26.00 [25.1, 26.9]", "-2.00 (p = 1e-05)", "in the mean"),
        ("L109", 5, "no soft tissue", "1e-05", "+0.50 (less visible)", "3 of 7 epochs"),
        ("L143", 6, "", "", "2.00 (1.00 to 3.00)", "+0.45 dB PSNR"),
        ("L192", 6, "9.3", "49.8 %", "0", "2 to 90 mm"),
    ]
    assert pages.numeric_columns(rows) == [False, True, True, True, True, False]
    assert pages.numeric_columns([("", 1)]) == [False, True]
    assert pages.numeric_columns([]) == []


def test_heads_stand_above_what_they_name():
    page = pages.render(
        "series.html.jinja",
        before_after.Page("t", "l", ["21.3", "1.9"], [("air", "-2000", "-900", "1 %", "+1")], b""),
    )
    assert page.count('<th scope="col" class="number">') == 2 + 4
    assert page.count('<td class="number">') == 2 + 4
    assert page.count('<th scope="row">') == 2


def test_pages_are_made_from_a_zip_file(tmp_path):
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (CHECKOUT / "cpca_jax").rglob("*"):
            if path.suffix in {".py", ".jinja"}:
                file.write(path, path.relative_to(CHECKOUT))
    code = (
        f"import sys; sys.path.insert(0, {str(archive)!r})\n"
        "from cpca_jax.runtime import pages\n"
        "assert '.zip' in pages.__file__, pages.__file__\n"
        "page = dict(title='t', lead='l', noise=[], tissues=[], png=b'')\n"
        "assert 'No soft tissue' in pages.render('series.html.jinja', page)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
