"""Intervals and tests that count patients: coverage, exact p-values, refusals."""

import dataclasses

import numpy as np
import pytest

from cpca_jax.errors import InputError
from cpca_jax.metrics.statistics import mean_interval, paired_test


def clustered(seed: int, patients: int, slices: int = 10) -> tuple[np.ndarray, list[str]]:
    """Draw values that differ more between patients than within; the true mean is 3."""
    random = np.random.default_rng(seed)
    own = random.normal(0, 1, (patients, 1))
    values = 3 + own + random.normal(0, 0.5, (patients, slices))
    return values.ravel(), [f"p{k}" for k in range(patients) for _ in range(slices)]


def share_covered(patients: int, names: bool, trials: int = 400) -> float:
    held = 0
    for seed in range(trials):
        values, owners = clustered(seed, patients)
        whose = owners if names else [str(k) for k in range(len(values))]
        interval = mean_interval(values, whose, seed=seed, repeats=400)
        assert interval.low is not None
        assert interval.high is not None
        held += interval.low <= 3 <= interval.high
    return held / trials


def test_intervals_of_patients_hold_the_true_mean() -> None:
    # 400 trials know a share of 0.93 to 0.013; percentile intervals of 20 patients reach 0.93.
    assert 0.89 < share_covered(20, names=True) < 0.97


def test_intervals_of_slices_would_not() -> None:
    # What clustering is for: taken for 200 independent slices, they hold it half of the time.
    assert share_covered(20, names=False) < 0.65


def test_the_interval_is_that_of_the_standard_error() -> None:
    # Patients of equal slices: the bootstrap's spread is the SD of their means over root n.
    values, owners = clustered(1, 50)
    interval = mean_interval(values, owners, seed=1)
    means = values.reshape(50, -1).mean(axis=1)
    reach = 1.96 * means.std() / np.sqrt(50)
    assert interval.mean == pytest.approx(values.mean())
    # 2000 repeats know a 2.5 % quantile to 3 % of the reach.
    assert interval.low == pytest.approx(interval.mean - reach, abs=0.12 * reach)
    assert interval.high == pytest.approx(interval.mean + reach, abs=0.12 * reach)
    assert (interval.patients, interval.slices, interval.resampled) == (50, 500, "patients")


def test_a_patient_brings_all_of_its_slices() -> None:
    # One patient of one slice, one of nine: a sample's mean is 0, 0.9 or 1.
    values = np.array([0.0] + [1.0] * 9)
    interval = mean_interval(values, ["a"] + ["b"] * 9, seed=1)
    assert (interval.low, interval.mean, interval.high) == (0.0, 0.9, 1.0)


def test_slices_count_alike_in_the_mean_of_a_sample() -> None:
    # Twenty patients of nine slices of 0, twenty of one slice of 1: 20 of 200 slices are 1.
    values = np.array(([0.0] * 9 + [1.0]) * 20)
    owners = [f"{kind}{k}" for k in range(20) for kind in ["a"] * 9 + ["b"]]
    interval = mean_interval(values, owners, seed=1)
    assert interval.patients == 40
    assert interval.mean == pytest.approx(0.1)
    assert interval.low < 0.1 < interval.high < 0.2


def test_one_patient_is_resampled_in_blocks_and_this_is_said() -> None:
    # A slow drift: single slices would give an interval that is far too narrow.
    values = np.sin(np.arange(100) / 100 * 2 * np.pi)
    one = mean_interval(values, ["a"] * 100, seed=1)
    single = mean_interval(values, [str(k) for k in range(100)], seed=1)
    assert one.resampled == "blocks of 10 slices of one patient"
    assert one.patients == 1
    assert one.high - one.low > 2 * (single.high - single.low)


def test_blocks_run_on_and_are_neighbours() -> None:
    # Two slices, one block: every sample holds both.
    interval = mean_interval(np.array([1.0, 3.0]), ["a", "a"], seed=1)
    assert (interval.low, interval.high) == (2.0, 2.0)


def test_one_slice_has_no_interval() -> None:
    interval = mean_interval(np.array([1.5]), ["a"], seed=1)
    assert (interval.mean, interval.low, interval.high) == (1.5, None, None)
    assert interval.resampled == "nothing: one slice"


def test_the_seed_decides() -> None:
    values, owners = clustered(2, 8)
    first, again, other = (mean_interval(values, owners, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other
    many, names = clustered(2, 14)
    tests = [paired_test(many, 3 + 0 * many, names, seed=s) for s in (1, 1, 2)]
    assert tests[0] == tests[1]
    assert tests[0] != tests[2]


@pytest.mark.parametrize("patients", [2, 5, 10])
def test_when_all_agree_only_two_flips_are_as_far(patients: int) -> None:
    values, owners = clustered(3, patients)
    found = paired_test(values + 1.0, values, owners, seed=1)
    assert found.p_value == 2 / 2**patients
    assert found.flips == 2**patients
    assert found.difference == pytest.approx(1.0)
    assert found.method == "all sign flips"


def test_p_values_are_those_counted_by_hand() -> None:
    # Sums of +-1 +-2 +-4 are +-1, +-3, +-5, +-7. Found is 1 + 2 - 4 = -1: all are as far.
    differences = np.array([1.0, 2.0, -4.0])
    assert paired_test(differences, 0 * differences, ["a", "b", "c"], seed=1).p_value == 1.0
    # Found is -1 + 2 + 4 = 5: four of eight, +-5 and +-7.
    differences = np.array([-1.0, 2.0, 4.0])
    assert paired_test(differences, 0 * differences, ["a", "b", "c"], seed=1).p_value == 0.5


def test_patients_count_alike_whatever_their_slices() -> None:
    differences = np.array([1.0] * 8 + [-3.0])
    found = paired_test(differences, 0 * differences, ["a"] * 8 + ["b"], seed=1)
    assert found.difference == -1.0
    assert found.patients == 2


def test_equal_methods_differ_by_chance_only() -> None:
    values, owners = clustered(4, 9)
    assert paired_test(values, values, owners, seed=1).p_value == 1.0
    # Random flips: 13 patients with differences in pairs of opposite signs, and one 0.
    differences = np.array([1.0, -1.0] * 6 + [0.0])
    names = [str(k) for k in range(13)]
    assert paired_test(differences, 0 * differences, names, seed=1).p_value == 1.0


def test_random_flips_agree_with_all_of_them() -> None:
    random = np.random.default_rng(5)
    differences = random.normal(0.4, 1, 12)
    exact = paired_test(differences, 0 * differences, [str(k) for k in range(12)], seed=1)
    # A patient more whose difference is 0 changes no mean's rank, but makes them 13.
    more = np.append(differences, 0.0)
    drawn = paired_test(more, 0 * more, [str(k) for k in range(13)], seed=1)
    assert (exact.method, drawn.method) == ("all sign flips", "random sign flips")
    assert 0.02 < exact.p_value < 0.5
    # 20 000 flips know a share to 0.0035 or better; four of these.
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.014)


def test_no_random_p_value_is_zero() -> None:
    values = np.full(30, 1.0)
    found = paired_test(values, 0 * values, [str(k) for k in range(30)], seed=1)
    assert found.p_value == 1 / found.flips


def test_p_values_are_uniform_without_a_difference() -> None:
    small = 0
    for seed in range(300):
        values, owners = clustered(seed, 8, slices=4)
        small += paired_test(values, np.full_like(values, 3.0), owners, seed=1).p_value <= 0.1
    # Of 256 flips; 300 trials know 0.1 to 0.017; three of these.
    assert small / 300 == pytest.approx(0.1, abs=0.052)


def test_one_patient_is_not_tested() -> None:
    found = paired_test(np.array([1.0, 2.0]), np.array([0.0, 0.0]), ["a", "a"], seed=1)
    assert dataclasses.asdict(found) == {
        "difference": 1.5,
        "p_value": None,
        "patients": 1,
        "flips": 0,
        "method": "none: one patient; a test needs two or more",
    }


def test_what_has_no_mean_is_refused() -> None:
    with pytest.raises(InputError, match="0 for 0"):
        mean_interval(np.array([]), [], seed=1)
    with pytest.raises(InputError, match="2 for 1"):
        mean_interval(np.array([1.0, 2.0]), ["a"], seed=1)
    with pytest.raises(InputError, match="1 of 2 are not finite"):
        mean_interval(np.array([1.0, np.inf]), ["a", "a"], seed=1)
    with pytest.raises(InputError, match="second: 1 values; there must be 2"):
        paired_test(np.array([1.0, 2.0]), np.array([1.0]), ["a", "a"], seed=1)
