"""Splits by list, by name and by file."""

import json

import pytest

from cpca_jax.data.collections import published
from cpca_jax.data.collections.splits import SplitChoice, held_out
from cpca_jax.errors import ConfigError


def members(split):
    by_name = published.SPLITS_BY_NAME["ldct-benchmark"]
    everyone = [f"{region}{number:03d}" for region in "CLN" for number in range(1000)]
    return [patient for patient in everyone if by_name(patient) == split]


def test_the_benchmark_has_its_published_sizes():
    """The benchmark has 35, 10 and 5 patients of each region (Eulig et al. 2024)."""
    for split, each in (("train", 35), ("validation", 10), ("test", 5)):
        assert [sum(p[0] == region for p in members(split)) for region in "CLN"] == [each] * 3
    abdomen = [patient for patient in members("test") if patient[0] == "L"]
    assert abdomen == ["L006", "L107", "L220", "L221", "L241"]


def test_a_published_split_takes_its_patients_only():
    choice = SplitChoice(by="ldct-benchmark")
    patients = ["L241", "L241", "L033", "C002", "L067", "case-12345678"]
    expected = {"L241": "test", "L033": "validation", "C002": "train"}
    assert choice.assign(patients) == expected


def test_lodopab_keeps_its_own_parts():
    choice = SplitChoice(by="lodopab")
    patients = ["lodopab-train-0001", "lodopab-test", "lodopab-validation-0200", "L067"]
    assert list(choice.assign(patients).values()) == ["test", "train", "validation"]


def test_a_file_says_who_is_where(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"L1": "test", "case-1": "train", "absent": "train"}))
    assert SplitChoice(file=path).assign(["L1", "case-1", "L2"]) == {
        "L1": "test",
        "case-1": "train",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"L1": "test", "L1": "train"}', "L1 is listed twice, must be in one split"),
        ('{"L1": "all"}', "L1 is in 'all', must be in train, validation, test"),
        ('{"L1": ["test", "train"]}', "must be in train, validation, test"),
        ("[]", "must be {"),
        ("{}", "must be {"),
        ("{", "is no JSON"),
        ("[" * 100000, "is no JSON"),
    ],
)
def test_files_that_are_no_split(tmp_path, text, message):
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        SplitChoice(file=path).assign(["L1"])
    assert str(tmp_path) not in str(caught.value)


def test_choices_that_cannot_be(tmp_path):
    with pytest.raises(
        ConfigError, match="--split_by is 'mine', must be in ldct-benchmark, lodopab"
    ):
        SplitChoice(by="mine").assign(["L1"])
    with pytest.raises(ConfigError, match="--test or --validation and --split_by: give one"):
        SplitChoice(test=["L1"], by="lodopab").assign(["L1"])
    with pytest.raises(ConfigError, match=r"absent\.json: cannot be read: No such file"):
        SplitChoice(file=tmp_path / "absent.json").assign(["L1"])


def test_every_patient_is_held_out_once():
    patients = ["b", "a", "d", "b", "c", "e"]
    folds = [held_out(patients, 3, number) for number in range(3)]
    assert folds == [{"a", "d"}, {"b", "e"}, {"c"}]
    with pytest.raises(ConfigError, match=r"config.data.folds: 6; there are only 5 patients"):
        held_out(patients, 6, 0)
