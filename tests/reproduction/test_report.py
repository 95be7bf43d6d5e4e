"""The page of a reproduction, from numbers made up."""

import dataclasses
import re

import page_reader
import pytest

from cpca_jax.configs import deck
from cpca_jax.evaluation.scoring import LOW_DOSE
from cpca_jax.reproduction import report as report
from cpca_jax.runtime import pages

METHODS = {LOW_DOSE: 26.0, "RED-CNN": 31.0, "WGAN-VGG": 29.0, "CPCA-1": 29.5}
METHODS |= {"CPCA-3": 29.7, "CPCA_TF-3": 29.9}


def slices(patients):
    plain = {"ssim": "0.9", "perceptual": "1.0", "bias_hu": "0.5"}
    return {
        name: [{"method": name, "patient": p, "psnr": str(psnr)} | plain for p in patients]
        for name, psnr in METHODS.items()
    }


def curve(first):
    plain = {"ssim": 0.9, "perceptual": 1.0, "quarter_psnr": 26.0}
    return [{"epoch": float(e), "psnr": 27.0 + e} | plain for e in range(first, 4)]


@pytest.fixture
def results():
    spread = {"mean": 2.0, "low": 1.5, "high": 2.5}
    found = {"method": LOW_DOSE, "radius_mm": 3.0, "contrast_hu": -30.0}
    table = {
        "store": "split 'test' of made-up",
        "protocol": "deck",
        "protocol_description": "deck: window",
        "feature_network": "vgg16 relu3_3",
        "rows": [{"slices": 4}],
    }
    score = {"psnr": 30.0, "ssim": 0.9, "perceptual": 1.0, "bias_hu": 1.0}
    return report.Results(
        about={
            "scale": "demo",
            "deep": [3],
            "first": 1,
            "questions": ["CPCA_TF-3", "CPCA_TF-3, random filters", "CPCA_TF-3, no 2D critic"],
            "validated": 4,
            "phantoms": 3,
            "rois": 40,
            "readers": 6,
            "made": "1 stage in 2 s on an abacus.",
        },
        table=table,
        methods=slices(["p1", "p2", "p3", "p4"]),
        curves={
            "CPCA-1": curve(0),
            "CPCA-3": curve(0),
            "CPCA_TF-3": curve(1),
            "CPCA_TF-3, random filters": curve(1),
            "CPCA_TF-3, no 2D critic": curve(1),
        },
        found=[found | {"d_prime": spread, "auc": spread, "gain": spread}],
        folds={0: {0.1: score, 1.0: score}, 1: {0.1: score, 1.0: score}},
        field="loss.perceptual",
        real={},
        real_table={},
    )


DRAWN = ["scratch-1", "scratch-3", "transfer-3", "filters", "critics", "lambda"]


def data(results):
    return report._make_page(results, dict.fromkeys([*DRAWN, "case-1", "case-2"], b"PNG"))


def sections(results):
    return page_reader.read(pages.render("reproduction.html.jinja", data(results)))


def markdown(results):
    return pages.render("reproduction.md.jinja", data(results))


def test_every_part_of_the_deck_has_its_heading(results):
    title, claims, *numbered = sections(results)
    assert title.heading == "Low-dose CT denoising: the deck, reproduced"
    assert claims.heading == "What of the deck holds here"
    assert [one.heading[:2] for one in numbered] == ["1.", "2.", "3.", "4.", "5.", "6.", "7."]
    words = " ".join(text for one in sections(results) for text in one.paragraphs)
    for said in ("demonstration", "abacus", "made-up", "vgg16 relu3_3", "4 slices of 4 patients"):
        assert said in words


@pytest.mark.parametrize("scale", deck.SCALES)
def test_every_scale_says_what_its_size_means(results, scale):
    text = markdown(dataclasses.replace(results, about={**results.about, "scale": scale}))
    assert re.search(r"\n\n(This is|Trainings) .*\. 1 stage in 2 s on an abacus\.\n\n", text)


def test_the_decks_numbers_stand_beside_those_of_its_own_patients_only(results):
    def heads(results):
        return [table[0] for one in sections(results) for table in one.tables]

    assert not any("the deck's PSNR" in head for head in heads(results))
    mayo = dataclasses.replace(results, methods=slices(["L067", "L506"]))
    assert any("the deck's PSNR" in head for head in heads(mayo))
    beside = dataclasses.replace(results, real=slices(["L143"]), real_table=results.table)
    assert any("the deck's PSNR" in head for head in heads(beside))
    assert "3b. Real scans" in [one.heading for one in sections(beside)]
    words = [text for one in sections(beside) for text in one.paragraphs]
    assert sum("of one patient. Intervals: blocks of its slices" in text for text in words) == 1
    assert sum("flipping the signs" in text for text in words) == 2  # orderings and phantoms


def test_the_page_holds_every_figure_and_marks_what_became_less_visible(results):
    shown = [picture for one in sections(results) for picture in one.pictures]
    assert len(shown) == len(DRAWN) + 2
    assert {picture["src"] for picture in shown} == {"data:image/png;base64,UE5H"}
    assert len({picture["alt"] for picture in shown}) == len(shown)
    assert 'class="number marked"' not in pages.render("reproduction.html.jinja", data(results))
    found = dict(results.found[0], gain={"mean": -2.0, "low": -3.0, "high": -1.0}, method="CPCA-1")
    lost = dataclasses.replace(results, found=[found])
    html = pages.render("reproduction.html.jinja", data(lost))
    assert html.count('class="number marked"') == html.count("(less visible)") == 1


def test_slices_of_patients_are_not_in_the_markdown(results):
    text = markdown(results)
    assert "case-" not in text
    assert "![lambda](lambda.png)" in text
    assert "| RED-CNN | 31.00 [31.00, 31.00] |" in text


def test_both_kinds_of_text_say_the_same(results):
    text = markdown(results)
    for one in sections(results):
        assert re.search(rf"^##? {re.escape(one.heading)}$", text, re.MULTILINE)
        for words in one.paragraphs:
            assert f"\n\n{words}\n\n" in text
        for heads, *rows in one.tables:
            lines = [f"| {' | '.join(row)} |" for row in [heads, *rows]]
            assert all(f"{line}\n" in text for line in lines)
    assert "\n\n\n" not in text


def test_figures_and_tables_are_files(results, tmp_path):
    drawn = dict(report._draw(tmp_path, results))
    report._write_csvs(tmp_path, results)
    names = {"scratch-1", "scratch-3", "transfer-3", "filters", "critics", "lambda"}
    assert set(drawn) == names
    assert {path.stem for path in tmp_path.glob("*.png")} == names
    tables = {"slices", "table", "curves", "lambda", "orderings", "detectability"}
    assert {path.stem for path in tmp_path.glob("*.csv")} == tables
    beside = dataclasses.replace(results, real=slices(["L143"]), real_table=results.table)
    report._write_csvs(tmp_path, beside)
    found = {path.stem for path in tmp_path.glob("*.csv")}
    assert found == tables | {"real-slices", "real-table"}
    lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert lines[0].startswith("training,epoch,psnr")
    assert len(lines) == 1 + 4 + 4 + 3 * 3
    assert (tmp_path / "orderings.csv").read_text().count("RED-CNN has the best PSNR") == 1
