"""Verdicts on the deck's claims: each can come out each way."""

import numpy as np
import pytest

from cpca_jax.reproduction import claims
from cpca_jax.reproduction.claims import CONTRADICTED, HOLDS, IN_THE_MEAN, NOT_MEASURED, OTHER_WAY

PATIENTS = 8


def scores(psnr, perceptual):
    """Two slices a patient; numbers for each patient."""
    rows = []
    for k, (p, d) in enumerate(np.broadcast(psnr, perceptual)):
        row = {"patient": f"p{k}", "psnr": str(p), "ssim": "0.9", "perceptual": str(d)}
        rows += [row, row]
    return rows


def curve(psnr, perceptual, start=0):
    return [
        {"epoch": float(start + k), "psnr": p, "ssim": 0.9, "perceptual": d}
        for k, (p, d) in enumerate(zip(psnr, perceptual, strict=True))
    ]


@pytest.fixture
def methods():
    """The deck's order, for every patient."""
    level = np.linspace(0, 1, PATIENTS)
    return {
        name: scores(psnr + level, perceptual + level)
        for name, psnr, perceptual in (
            ("low dose", 26.0, 4.8),
            ("RED-CNN", 31.4, 4.3),
            ("WGAN-VGG", 28.9, 2.6),
            ("CPCA-1", 29.6, 2.4),
            ("CPCA-3", 29.8, 2.1),
            ("CPCA_TF-3", 30.0, 2.0),
        )
    }


@pytest.fixture
def curves():
    return {
        "CPCA-1": curve([10.0, 28.0, 29.0], [4.0, 3.0, 2.5]),
        "CPCA-3": curve([10.0, 28.2, 29.1], [4.0, 2.9, 2.4]),
        "CPCA_TF-3": curve([28.0, 29.3], [3.0, 2.3], start=1),
    }


def find(methods, curves):
    return {f.claim: f for f in claims.find(methods, curves, deep=[3], first=1)}


def the(found, start):
    (finding,) = [f for claim, f in found.items() if claim.startswith(start)]
    return finding


def test_the_decks_own_order_holds(methods, curves):
    found = find(methods, curves)
    whole = [f for claim, f in found.items() if "equal epochs" not in claim]
    assert {f.verdict for f in whole} == {HOLDS}
    assert the(found, "RED-CNN has the best PSNR").claim.endswith("(next: CPCA_TF-3)")
    assert the(found, "RED-CNN has the best PSNR").ours == "+1.40 dB PSNR, p = 0.0078"
    assert the(found, "RED-CNN has the best PSNR").deck == "+1.39 dB PSNR"
    assert the(found, "CPCA-1 is better than WGAN-VGG: perceptual").deck == "-0.1800 perceptual"


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (np.full(PATIENTS, 0.3), HOLDS),
        (np.array([1, 1, 1, 1, 1, -1, -1, -1]) * 0.3, IN_THE_MEAN),
        (np.array([1, 1, 1, -1, -1, -1, -1, -1]) * 0.3, OTHER_WAY),
        (np.full(PATIENTS, -0.3), CONTRADICTED),
    ],
)
def test_every_verdict_can_be_given(methods, curves, gain, verdict):
    methods["WGAN-VGG"] = scores(np.full(PATIENTS, 29.0), 2.0)
    methods["CPCA-1"] = scores(29.0 + gain, 2.0 - gain)
    found = find(methods, curves)
    assert the(found, "CPCA-1 is better than WGAN-VGG: PSNR").verdict == verdict
    assert the(found, "CPCA-1 is better than WGAN-VGG: perceptual").verdict == verdict


def test_one_patient_proves_nothing(methods, curves):
    alone = {
        name: [row for row in rows if row["patient"] == "p0"] for name, rows in methods.items()
    }
    finding = the(find(alone, curves), "RED-CNN has the best PSNR")
    assert (finding.verdict, finding.ours) == (IN_THE_MEAN, "+1.40 dB PSNR, one patient, no test")


def test_a_start_beside_the_2d_curve_is_said(methods, curves):
    assert the(find(methods, curves), "CPCA_TF-3 starts").verdict == HOLDS
    curves["CPCA_TF-3"][0]["psnr"] = 28.01
    finding = the(find(methods, curves), "CPCA_TF-3 starts")
    assert finding.verdict == CONTRADICTED
    assert finding.ours.startswith("differences 0.01 dB")


def test_epochs_are_counted(methods, curves):
    found = find(methods, curves)
    equal = the(found, "CPCA_TF-3 at least as good as CPCA-3 at equal epochs: PSNR")
    assert (equal.verdict, equal.ours) == ("1 of 1 epochs", "after the first epoch +0.20 dB PSNR")
    curves["CPCA_TF-3"][1]["perceptual"] = 2.5
    equal = the(find(methods, curves), "CPCA_TF-3 at least as good as CPCA-3 at equal epochs: perc")
    assert (equal.verdict, equal.ours) == (
        "0 of 1 epochs",
        "after the first epoch +0.1000 perceptual",
    )


def test_what_was_not_trained_is_not_claimed(methods, curves):
    del methods["WGAN-VGG"]
    finding = the(find(methods, curves), "CPCA-1 is better than WGAN-VGG: PSNR")
    assert (finding.ours, finding.verdict) == ("", NOT_MEASURED)


@pytest.mark.parametrize("damaged", ["CPCA-1", "CPCA_TF-3"])
def test_a_curve_without_its_first_scores_is_not_judged(methods, curves, damaged):
    curves[damaged] = [line for line in curves[damaged] if line["epoch"] != 1]
    assert the(find(methods, curves), "CPCA_TF-3 starts").verdict == NOT_MEASURED
