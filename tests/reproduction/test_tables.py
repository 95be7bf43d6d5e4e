"""What the page of a reproduction says of its numbers."""

import numpy as np
import pytest

from cpca_jax.evaluation.scoring import LOW_DOSE
from cpca_jax.reproduction import tables as tables


def scores(method, psnr, patients=4):
    return [
        {
            "method": method,
            "patient": f"p{k * patients // len(psnr)}",
            "psnr": str(p),
            "ssim": "0.9",
            "perceptual": "1.0",
            "bias_hu": "-2.0",
        }
        for k, p in enumerate(psnr)
    ]


@pytest.fixture
def methods():
    noise = np.random.default_rng(0).normal(0, 0.1, 12)
    return {
        "low dose": scores("low dose", 26 + noise),
        "RED-CNN": scores("RED-CNN", 29 + noise),
    }


def test_rows_have_intervals(methods):
    _, second = tables.table_rows(methods)
    assert len(second) == len(tables.table_heads())
    mean, low, high = (float(part.strip("[],")) for part in second[1].split())
    assert low <= mean <= high
    assert mean == pytest.approx(np.mean([float(r["psnr"]) for r in methods["RED-CNN"]]), abs=0.006)
    assert second[4].startswith("-2.0 [")


def test_the_decks_numbers_stand_beside_ours(methods):
    first, second = tables.table_rows(methods | {"CNN": methods["RED-CNN"]}, printed=True)[1:]
    assert first[-3:] == ("31.39", "0.9194", "4.31")
    assert second[-3:] == ("", "", "")
    assert len(first) == len(tables.table_heads()) + len(tables.PRINTED_HEADS)


def test_each_row_is_tested_against_the_one_above(methods):
    (row,) = tables.step_rows(methods)
    assert row[:2] == ("RED-CNN", "low dose")
    assert row[2] == "+3.00 (p = 0.12)"  # four patients: 2 / 2**4
    assert row[3].startswith("+0.0000")
    alone = {name: scores(name, [20.0, 21.0], patients=1) for name in ("a", "b")}
    assert tables.step_rows(alone)[0][2] == "+0.00"


def test_a_lesion_that_is_less_visible_stands_out():
    def row(method, gain):
        spread = {"mean": gain, "low": gain - 0.1, "high": gain + 0.1}
        named = {"method": method, "radius_mm": 3.0, "contrast_hu": -30.0, "form": "sphere"}
        return named | {"d_prime": spread, "auc": spread, "gain": spread}

    found = [row(LOW_DOSE, 0.0), row("blur", -0.5), row("same", 0.05)]
    methods = {LOW_DOSE: scores(LOW_DOSE, [26.0]), "blur": scores("blur", [28.5])}
    rows = tables.detectability_rows(found, methods)
    assert rows[0][-2:] == ("", "+0.00")
    assert rows[0][4] == "0.000 [0.000, 0.100]"
    assert tables.detectability_rows([row("sure", 0.95)], {})[0][4] == "0.950 [0.850, 1.000]"
    assert rows[1][-2:] == ("-0.50 [-0.60, -0.40] (less visible)", "+2.50")
    assert rows[2][-2:] == ("+0.05 [-0.05, +0.15]", "")
    assert all(len(cells) == len(tables.FOUND_HEADS) for cells in rows)


def test_a_sweep_is_averaged_over_folds():
    def of(psnr, perceptual):
        return {"psnr": psnr, "ssim": 0.9, "perceptual": perceptual, "bias_hu": 1.0}

    folds = {
        0: {1.0: of(30.0, 0.5), 10.0: of(28.0, 0.3)},
        1: {1.0: of(32.0, 0.7), 10.0: of(29.0, 0.4)},
    }
    rows = tables.sweep_rows(folds)
    assert rows[0][:2] == ("1", "31.00 (30.00 to 32.00)")
    assert rows[1][3] == "0.3500 (0.3000 to 0.4000)"
    assert tables.best_values(folds) == {"psnr": 1.0, "ssim": 1.0, "perceptual": 10.0}
