"""The deck as stages, and what its page says of their numbers."""

import numpy as np
import pytest

from configs import deck
from cpca_jax import config, reproduction, reproduction_report
from cpca_jax.errors import ConfigError
from cpca_jax.evaluation import QUARTER_DOSE


def digests(chosen, workdir):
    plan = reproduction.make_plan(chosen, workdir)
    return {name: plan.folder(name).name for name in plan.chosen()}


@pytest.mark.parametrize("scale", deck.SCALES)
def test_every_training_is_an_experiment(tmp_path, scale):
    """Parsed as a run would parse it, and each row and question has its training."""
    chosen = deck.get_config(scale)
    plan = reproduction.make_plan(chosen, tmp_path)
    for name in chosen.trainings:
        training = chosen.trainings[name].config
        training.data.store = "x"
        config.parse(training)
        assert reproduction.stage_name(name) in plan.chosen()
    sources = {chosen.trainings[name].source for name in chosen.trainings} - {""}
    assert set(chosen.rows) | set(chosen.questions) | sources == set(chosen.trainings)
    with pytest.raises(ConfigError, match="must be one of demo, small"):
        deck.get_config("huge")


def test_fine_tuning_ends_with_the_epoch_that_training_from_scratch_ends_with():
    for name, scale in deck.SCALES.items():
        trainings = deck.get_config(name).trainings
        for i in scale.deep:
            chosen = trainings[f"CPCA_TF-{i}"].config
            assert chosen.transfer.step == scale.first * scale.steps
            assert chosen.transfer.step % trainings["CPCA-1"].config.train.keep_every == 0
            assert scale.first + chosen.train.epochs == scale.epochs


def test_a_changed_training_reruns_what_hangs_on_it(tmp_path):
    before = digests(deck.get_config("demo"), tmp_path)
    chosen = deck.get_config("demo")
    chosen.trainings["CPCA-1"].config.loss.perceptual = 0.5
    after = digests(chosen, tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    tuned = {name for name in before if name.startswith("train-CPCA_TF")}
    hanging = {name for name in tuned if "no-2D-critic" not in name}
    assert len(hanging) < len(tuned)
    assert changed == {"train-CPCA-1", "table", "detectability", "report"} | hanging
    only = deck.get_config("demo")
    only.detectability.readers = 5
    after = digests(only, tmp_path)
    assert {n for n in before if before[n] != after[n]} == {"detectability", "report"}


def scores(method, psnr):
    return [
        {"method": method, "patient": f"p{k // 3}", "psnr": p, "ssim": 0.9, "perceptual": 1.0}
        for k, p in enumerate(psnr)
    ]


def test_rows_have_intervals_and_differences():
    noise = np.random.default_rng(0).normal(0, 0.1, 12)
    methods = {
        "quarter dose": scores("quarter dose", 26 + noise),
        "better": scores("better", 29 + noise),
    }
    first, second = reproduction_report.table_rows(methods)
    assert first[0] == "quarter dose"
    assert first[-1] == ""
    assert second[-1].startswith("+3.00 dB, p = 0.12")  # four patients: 2 / 2**4
    mean, low, high = (float(part.strip("[],")) for part in second[1].split())
    assert low <= mean <= high
    assert mean == pytest.approx(29 + noise.mean(), abs=0.006)


def test_a_lost_lesion_stands_out():
    def row(method, gain):
        spread = {"mean": gain, "low": gain - 0.1, "high": gain + 0.1}
        return {
            "method": method,
            "radius_mm": 3.0,
            "contrast_hu": -30.0,
            "form": "sphere",
            "d_prime": spread,
            "auc": spread,
            "gain": spread,
        }

    rows = reproduction_report.detectability_rows([
        row(QUARTER_DOSE, 0.0),
        row("blur", -0.5),
        row("same", 0.05),
    ])
    assert rows[0][-1] == ""
    assert rows[1][-1] == "-0.50 [-0.60, -0.40] (lost)"
    assert rows[2][-1] == "+0.05 [-0.05, +0.15]"
