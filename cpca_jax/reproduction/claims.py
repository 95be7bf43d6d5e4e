"""What the deck says of its methods, held against the numbers of a reproduction.

Every claim of the deck's slides that is an order of two methods is tested on the same slices, by
patients, and gets a verdict that anyone can check from the numbers beside it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from cpca_jax.metrics import statistics
from cpca_jax.reproduction import deck_values
from cpca_jax.reproduction.tables import Methods, column

Curves = Mapping[str, Sequence[Mapping[str, float]]]

HOLDS, IN_THE_MEAN = "holds", "in the mean, not beyond chance"
OTHER_WAY, CONTRADICTED = "other way, within chance", "contradicted"
NOT_MEASURED = "not measured"
_LEVEL, _SEED = 0.05, 0
# The metrics of the claims, and what they are called.
_TESTED = {"psnr": "PSNR", "perceptual": "perceptual"}
_SIGN = {"psnr": 1, "ssim": 1, "perceptual": -1}
_FORMAT = {"psnr": "{:+.2f} dB PSNR", "ssim": "{:+.4f} SSIM", "perceptual": "{:+.4f} perceptual"}
# Two networks that are one function differ by rounding.
_SAME = {"psnr": 1e-3, "ssim": 1e-5, "perceptual": 1e-4}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One claim.

    Attributes:
        claim: what the deck shows.
        deck: its numbers.
        ours: the same difference here, with p where there is a test.
        verdict: "holds" (p at most 0.05), "in the mean, not beyond chance", "other way, within
            chance", "contradicted" (the other way round, p at most 0.05) or "not measured"; of
            curves how many epochs.
    """

    claim: str
    deck: str
    ours: str
    verdict: str


def find(methods: Methods, curves: Curves, *, deep: Sequence[int], first: int) -> list[Finding]:
    """The deck's orderings on these numbers.

    Args:
        methods: scores of the same slices in the same order by method, as slices.csv has them.
        curves: validation scores by training, each line with its "epoch".
        deep: slices of the 3D networks.
        first: epoch of the 2D training at which fine-tuning begins.
    """
    others = [name for name in deck_values.TABLE if name in methods and name != "RED-CNN"]
    runner_up = max(others, key=lambda name: column(methods[name], "psnr").mean())
    last = deep[-1]
    found = [
        _compare(methods, f"RED-CNN has the best PSNR (next: {runner_up})", "RED-CNN", runner_up),
        *(
            _compare(methods, f"CPCA-1 is better than WGAN-VGG: {name}", "CPCA-1", "WGAN-VGG", m)
            for m, name in _TESTED.items()
        ),
        *(
            _compare(
                methods,
                f"{last} slices are better than 1: {name}",
                f"CPCA-{last}",
                "CPCA-1",
                m,
            )
            for m, name in _TESTED.items()
        ),
    ]
    for i in deep:
        tuned, scratch = f"CPCA_TF-{i}", f"CPCA-{i}"
        for metric in _TESTED:
            claim = f"transfer is better than scratch, {i} slices: {_TESTED[metric]}"
            found.append(_compare(methods, claim, tuned, scratch, metric))
    for i in deep:
        found += _of_curves(curves, i, first)
    return found


def _of_curves(curves: Curves, i: int, first: int) -> list[Finding]:
    """How fine-tuning went on against the 2D and the 3D training from scratch."""
    tuned = {line["epoch"]: line for line in curves[f"CPCA_TF-{i}"]}
    scratch = {line["epoch"]: line for line in curves[f"CPCA-{i}"]}
    flat = {line["epoch"]: line for line in curves["CPCA-1"]}
    gaps = {m: abs(tuned[first][m] - flat[first][m]) for m in _SIGN}
    same = all(gap <= _SAME[m] for m, gap in gaps.items())
    found = [
        Finding(
            f"CPCA_TF-{i} starts at the 2D curve's value, epoch {first}",
            "one curve begins on the other",
            f"differences {gaps['psnr']:.1g} dB, {gaps['ssim']:.1g}, {gaps['perceptual']:.1g}",
            HOLDS if same else CONTRADICTED,
        )
    ]
    later = sorted(epoch for epoch in tuned if epoch > first and epoch in scratch)
    for metric in _TESTED:
        gains = [_SIGN[metric] * (tuned[e][metric] - scratch[e][metric]) for e in later]
        better = sum(gain >= 0 for gain in gains)
        at_once = _FORMAT[metric].format(_SIGN[metric] * gains[0]) if gains else "no epoch"
        found.append(
            Finding(
                f"CPCA_TF-{i} at least as good as CPCA-{i} at equal epochs: {_TESTED[metric]}",
                "at every epoch",
                f"after the first epoch {at_once}",
                f"{better} of {len(later)} epochs",
            )
        )
    return found


def _compare(
    methods: Methods, claim: str, better: str, worse: str, metric: str = "psnr"
) -> Finding:
    """Test that one method is better than another on the same slices."""
    if better not in methods or worse not in methods:
        return Finding(claim, _printed(better, worse, metric), "", NOT_MEASURED)
    first, second = (column(methods[name], metric) for name in (better, worse))
    patients = [row["patient"] for row in methods[better]]
    test = statistics.paired_test(first, second, patients, seed=_SEED)
    p = "one patient, no test" if test.p_value is None else f"p = {test.p_value:.2g}"
    sure = test.p_value is not None and test.p_value <= _LEVEL
    if _SIGN[metric] * test.difference > 0:
        verdict = HOLDS if sure else IN_THE_MEAN
    else:
        verdict = CONTRADICTED if sure else OTHER_WAY
    ours = f"{_FORMAT[metric].format(test.difference)}, {p}"
    return Finding(claim, _printed(better, worse, metric), ours, verdict)


def _printed(better: str, worse: str, metric: str) -> str:
    """The deck's difference, where it prints both."""
    pair = [deck_values.TABLE.get(name) for name in (better, worse)]
    if pair[0] is None or pair[1] is None:
        return "not printed"
    return _FORMAT[metric].format(getattr(pair[0], metric) - getattr(pair[1], metric))
