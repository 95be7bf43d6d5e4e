"""The driver of evaluate.py and the files that it writes."""

import csv
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
import tiny

from cpca_jax.denoising.denoiser import load_run
from cpca_jax.errors import CheckpointError, ConfigError, OutputError, StoreError
from cpca_jax.evaluation import case_figure, comparison, report
from cpca_jax.evaluation.scoring import SliceScore
from cpca_jax.training import loop

QUICK = {"network": "random", "tap": "relu1_2"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny.write_store(tmp_path_factory.mktemp("comparison") / "store")


@pytest.fixture(scope="module")
def runs(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    loop.train(tiny.configuration(store, train__steps=1), folder / "flat")
    deep = {"model__slices": 3, "transfer__run": str(folder / "flat"), "train__steps": 1}
    loop.train(tiny.configuration(store, **deep), folder / "deep")
    return [folder / "flat", folder / "deep"]


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_without_runs_there_is_the_low_dose_row_only(store, tmp_path):
    comparison.compare([], store, tmp_path / "out", comparison.EvaluationOptions(**QUICK))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["protocol"] == "deck"
    assert metrics["feature_network"].startswith("vgg19-random relu1_2, ")
    (row,) = metrics["rows"]
    assert row["method"] == "low dose"
    assert row["slices"] == tiny.SLICES
    assert {"psnr", "ssim", "perceptual"} <= set(row)


def test_every_output_has_every_method(store, runs, tmp_path):
    table = comparison.compare(runs, store, tmp_path / "out", comparison.EvaluationOptions())
    names = ["low dose", "flat", "deep"]
    assert [row.method for row in table.rows] == names
    out = tmp_path / "out"
    slices = read_csv(out / "slices.csv")
    assert len(slices) == 3 * tiny.SLICES
    for row in table.rows:
        own = [float(s["psnr"]) for s in slices if s["method"] == row.method]
        assert row.scores["psnr"] == pytest.approx(np.mean(own))
    assert [row["method"] for row in read_csv(out / "table.csv")] == names
    text = (out / "table.md").read_text()
    for said in ("[-300, 300] HU", "vgg19-random relu1_2", "simulated low dose", "| deep |"):
        assert said in text
    (case,) = out.glob("case-*.png")
    for picture in (case, out / "curves.png"):
        assert matplotlib.image.imread(picture).std() > 0.05


def test_one_run_may_not_stand_twice(store, runs, tmp_path):
    with pytest.raises(ConfigError, match="flat is given twice"):
        comparison.compare(
            [runs[0], runs[0]], store, tmp_path / "out", comparison.EvaluationOptions()
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("choices", "error", "said"),
    [
        ({"protocol": "dek"}, ConfigError, "protocol: 'dek'"),
        ({"split": "exam"}, StoreError, "exam"),
        (
            {"kernels": ("B30f",)},
            StoreError,
            "--kernels: no series of split 'test' with B30f; there are simulated",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(store, tmp_path, choices, error, said):
    with pytest.raises(error) as raised:
        comparison.compare(
            [], store, tmp_path / "out", comparison.EvaluationOptions(**QUICK, **choices)
        )
    assert said in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_what_shows_patients_is_for_the_owner_and_outside_the_inputs(store, tmp_path):
    comparison.compare([], store, tmp_path / "out", comparison.EvaluationOptions(**QUICK))
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    for output, runs in ((store / "out", []), (tmp_path / "run" / "out", [tmp_path / "run"])):
        with pytest.raises(OutputError, match="out: lies in the input"):
            comparison.compare(runs, store, output, comparison.EvaluationOptions(**QUICK))
        assert not output.exists()


def test_a_missing_run_is_named(store, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere: no such run folder"):
        comparison.compare(
            [tmp_path / "nowhere"], store, tmp_path / "out", comparison.EvaluationOptions()
        )


def test_rows_are_means_over_slices_in_order_of_appearance():
    def score(method, patient, psnr):
        return SliceScore(method, "s", patient, 0, {"psnr": psnr, "ssim": 0.5})

    rows = report.make_rows([score("b", "p", 20.0), score("a", "p", 10.0), score("b", "q", 30.0)])
    assert [(r.method, r.scores["psnr"], r.slices, r.patients) for r in rows] == [
        ("b", 25.0, 2, 2),
        ("a", 10.0, 1, 1),
    ]


def test_the_busiest_place_lies_in_structured_tissue():
    image = np.full((200, 300), -1000.0)
    image[96:192] = 40.0
    random = np.random.default_rng(0)
    image[100:180, 200:280] += random.normal(0, 40, (80, 80))
    row, column = case_figure.busiest_place(image)
    assert 96 <= row < 192
    assert 192 <= column < 288


def test_a_run_from_before_a_metric_was_added_has_no_curve_of_it(tmp_path):
    scores = {"psnr": 20.0, "ssim": 0.5, "perceptual": 1.0}
    old = [{"epoch": epoch} | scores for epoch in (0, 1)]
    new = [line | {"low_ssim": 0.4} for line in old]
    for line in old:
        del line["ssim"]
    report.draw_curves(tmp_path / "curves.png", {"note": {"old": old, "new": new}})
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_curves_stand_together_only_where_they_mean_the_same(store, runs, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(report, "draw_curves", lambda path, groups: drawn.append(groups))
    other = tmp_path / "other"
    changes = {"perceptual__tap": "relu2_1", "train__steps": 1}
    loop.train(tiny.configuration(store, **changes), other)
    comparison._draw_curves(tmp_path, dict.fromkeys([*runs, other], 1))
    (groups,) = drawn
    assert [list(curves) for curves in groups.values()] == [["flat", "deep"], ["other"]]
    first, second = groups
    assert "relu1_2" in first
    assert "relu2_1" in second
    assert "protocol deck" in second


def test_a_skipped_checkpoint_is_said_once_and_the_one_scored_is_named(
    store, runs, tmp_path, capsys
):
    flat = shutil.copytree(runs[0], tmp_path / "flat")
    shutil.copytree(flat / "checkpoints" / "1", flat / "checkpoints" / "9")
    table = comparison.compare([flat], store, tmp_path / "out", comparison.EvaluationOptions())
    said = capsys.readouterr().out
    assert said.count("warning: flat: checkpoint 9 skipped: it is that of step 1") == 1
    digest = load_run(flat).digest
    assert table.runs == {"flat": f"step 1, {digest}"}
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["runs"] == table.runs
    assert f"- flat: step 1, {digest}" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize("choice", [{"slices": -1}, {"batch": 0}, {"figures": -1}])
def test_impossible_choices_are_refused_by_name(store, tmp_path, choice):
    (name,) = choice
    with pytest.raises(ConfigError, match=f"{name}: "):
        comparison.compare([], store, tmp_path / "out", comparison.EvaluationOptions(**choice))
