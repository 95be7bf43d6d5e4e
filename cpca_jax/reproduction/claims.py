"""The claims of the deck about its methods, tested on the numbers of a reproduction.

Every claim of the deck that orders two methods is tested on the same slices, by patients, and gets
a verdict that anyone can check from the numbers beside it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from cpca_jax.metrics import METRICS, Metric, statistics
from cpca_jax.metrics.table import drawn
from cpca_jax.reproduction import deck_values
from cpca_jax.reproduction.tables import Methods, column

Curves = Mapping[str, Sequence[Mapping[str, float]]]

HOLDS, IN_THE_MEAN = "holds", "in the mean, not beyond chance"
OTHER_WAY, CONTRADICTED = "other way, within chance", "contradicted"
NOT_MEASURED = "not measured"
_LEVEL, _SEED = 0.05, 0


@dataclasses.dataclass(frozen=True)
class Finding:
    """One claim.

    Attributes:
        claim: The claim of the deck.
        deck: The numbers of the deck.
        ours: The same difference here, with p where there is a test.
        verdict: "holds" (p at most 0.05), "in the mean, not beyond chance", "other way, within
            chance", "contradicted" (the other way round, p at most 0.05) or "not measured"; for
            curves, the number of epochs in which the claim holds.
    """

    claim: str
    deck: str
    ours: str
    verdict: str


def _claimed() -> dict[str, Metric]:
    """Return the metrics in which the order of methods is claimed."""
    return {name: metric for name, metric in METRICS.items() if metric.claimed}


def _shown(metric: Metric, difference: float) -> str:
    """Return a difference with its unit and the label of its metric."""
    parts = (metric.show(difference, signed=True), metric.unit, metric.label)
    return " ".join(part for part in parts if part)


def find(methods: Methods, curves: Curves, *, deep: Sequence[int], first: int) -> list[Finding]:
    """Test the deck's claims on these numbers.

    Args:
        methods: The scores by method, of the same slices in the same order, as in slices.csv.
        curves: The validation scores by training, each line with its "epoch".
        deep: The numbers of slices of the 3D networks.
        first: The epoch of the 2D training at which fine-tuning begins.
    """
    others = [name for name in deck_values.TABLE if name in methods and name != "RED-CNN"]
    runner_up = max(others, key=lambda name: column(methods[name], "psnr").mean())
    last = deep[-1]
    found = [
        _compare(methods, f"RED-CNN has the best PSNR (next: {runner_up})", "RED-CNN", runner_up),
        *(
            _compare(
                methods, f"CPCA-1 is better than WGAN-VGG: {m.label}", "CPCA-1", "WGAN-VGG", name
            )
            for name, m in _claimed().items()
        ),
        *(
            _compare(
                methods,
                f"{last} slices are better than 1: {m.label}",
                f"CPCA-{last}",
                "CPCA-1",
                name,
            )
            for name, m in _claimed().items()
        ),
    ]
    for i in deep:
        tuned, scratch = f"CPCA_TF-{i}", f"CPCA-{i}"
        for name, metric in _claimed().items():
            claim = f"transfer is better than scratch, {i} slices: {metric.label}"
            found.append(_compare(methods, claim, tuned, scratch, name))
    for i in deep:
        found += _of_curves(curves, i, first)
    return found


def _of_curves(curves: Curves, i: int, first: int) -> list[Finding]:
    """Compare the curve of fine-tuning with those of 2D and 3D training from scratch."""
    tuned = {line["epoch"]: line for line in curves[f"CPCA_TF-{i}"]}
    scratch = {line["epoch"]: line for line in curves[f"CPCA-{i}"]}
    flat = {line["epoch"]: line for line in curves["CPCA-1"]}
    claim = f"CPCA_TF-{i} starts at the 2D curve's value, epoch {first}"
    found = [_start(claim, tuned.get(first), flat.get(first))]
    later = sorted(epoch for epoch in tuned if epoch > first and epoch in scratch)
    for name, metric in _claimed().items():
        differences = [tuned[e][name] - scratch[e][name] for e in later]
        better = sum(metric.worth(tuned[e][name]) >= metric.worth(scratch[e][name]) for e in later)
        at_once = _shown(metric, differences[0]) if differences else "no epoch"
        found.append(
            Finding(
                f"CPCA_TF-{i} at least as good as CPCA-{i} at equal epochs: {metric.label}",
                "at every epoch",
                f"after the first epoch {at_once}",
                f"{better} of {len(later)} epochs",
            )
        )
    return found


def _start(
    claim: str, tuned: Mapping[str, float] | None, flat: Mapping[str, float] | None
) -> Finding:
    """Compare the first scores of fine-tuning with those of the 2D run at the same epoch."""
    printed = "one curve begins on the other"
    if tuned is None or flat is None:  # a log was damaged
        return Finding(claim, printed, "", NOT_MEASURED)
    gaps = {name: abs(tuned[name] - flat[name]) for name in drawn()}
    same = all(gap <= METRICS[name].rounding for name, gap in gaps.items())
    units = {name: f" {METRICS[name].unit}".rstrip() for name in gaps}
    ours = f"differences {', '.join(f'{gap:.1g}{units[name]}' for name, gap in gaps.items())}"
    return Finding(claim, printed, ours, HOLDS if same else CONTRADICTED)


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
    row = METRICS[metric]
    if row.worth(float(first.mean())) > row.worth(float(second.mean())):
        verdict = HOLDS if sure else IN_THE_MEAN
    else:
        verdict = CONTRADICTED if sure else OTHER_WAY
    ours = f"{_shown(row, test.difference)}, {p}"
    return Finding(claim, _printed(better, worse, metric), ours, verdict)


def _printed(better: str, worse: str, metric: str) -> str:
    """Return the difference that the deck prints, or "not printed"."""
    pair = [deck_values.TABLE.get(name) for name in (better, worse)]
    if pair[0] is None or pair[1] is None or metric not in deck_values.Printed._fields:
        return "not printed"
    return _shown(METRICS[metric], getattr(pair[0], metric) - getattr(pair[1], metric))
