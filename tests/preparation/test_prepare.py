"""Stores from DICOM folders and from phantoms."""

import json
import subprocess
import sys

import fake_dicom
import nibabel
import numpy as np
import pytest
from conftest import CHECKOUT

from cpca_jax.data.collections.sources import Inputs
from cpca_jax.data.collections.splits import SplitChoice
from cpca_jax.data.dicom.series import Series
from cpca_jax.data.store import reader
from cpca_jax.errors import ConfigError, ScanError, StoreError
from cpca_jax.preparation import prepare


def prepare_collection(source, output, *, test=(), validation=(), seed=0, **options):
    choice = options.pop("choice", SplitChoice(test, validation, seed=seed))
    return prepare.prepare_scans(Inputs(source), output, choice=choice, **options)


@pytest.fixture
def collection(tmp_path):
    """Write pairs of three patients of a public collection and of a private one."""
    root = tmp_path / "in"
    for patient in ("L001", "L002", "C003"):
        fake_dicom.write_pair(root / patient, PatientID="Anonymous")
    fake_dicom.write_pair(root / "private")
    return root


def test_pairs_become_a_store(tmp_path, collection):
    lines = []
    made = prepare_collection(
        collection, tmp_path / "out", test=["L001"], validation=["L002"], say=lines.append
    )
    by_patient = {one.patient: one for one in made.series}
    assert {patient: one.split for patient, one in by_patient.items()} == {
        "L001": "test",
        "L002": "validation",
        "C003": "train",
        next(patient for patient in by_patient if patient.startswith("case-")): "train",
    }
    one = by_patient["L001"]
    assert (one.name, one.kernel, one.thickness_mm) == ("L001-B30f-3mm", "B30f", 3.0)
    assert (one.simulated, one.dose) == (False, 0.25)
    assert by_patient["C003"].dose == 0.1
    assert one.positions_mm == (0.0, 2.0, 4.0, 6.0, 8.0)
    expected = np.maximum(fake_dicom.body(5, noise_hu=10.0, seed=1), -1024)
    np.testing.assert_array_equal(one.full, expected)
    expected = np.maximum(fake_dicom.body(5, noise_hu=20.0, seed=2), -1024)
    np.testing.assert_array_equal(one.low, expected)
    assert any(line.startswith("L001 B30f 3 mm: 5 slices, noise ") for line in lines)
    assert "test: L001" in lines
    reader.open_store(tmp_path / "out", verify=True)


def test_nothing_of_a_patient_is_told_or_stored(tmp_path, collection):
    (collection / "private" / "quarter_3mm" / "CT.0001.IMA").unlink()
    fake_dicom.write_pair(collection / "secret2", PatientID="SECRET-4712")
    lines = []
    prepare_collection(collection, tmp_path / "out", say=lines.append)
    told = "\n".join(lines) + (tmp_path / "out" / "manifest.json").read_text()
    told += "".join(path.name for path in (tmp_path / "out").iterdir())
    assert "refused" in told
    for secret in ("SECRET", "Secret", "Marker", "secret2", "private", str(tmp_path), "1.2.3.4"):
        assert secret not in told
    for path in (tmp_path / "out").iterdir():
        assert b"SECRET" not in path.read_bytes()


def test_what_cannot_be_used_is_said_and_the_rest_goes_on(tmp_path, collection):
    swapped = collection / "L001"
    (swapped / "full_3mm").rename(swapped / "x")
    (swapped / "quarter_3mm").rename(swapped / "full_3mm")
    (swapped / "x").rename(swapped / "quarter_3mm")
    truncated = collection / "L002" / "full_3mm" / "CT.0003.IMA"
    truncated.write_bytes(truncated.read_bytes()[:-1000])
    (collection / "notes.txt").write_text("x" * 300)
    lines = []
    made = prepare_collection(collection, tmp_path / "out", say=lines.append)
    assert {one.patient[:4] for one in made.series} == {"C003", "case"}
    assert any("L001 B30f 3 mm: noise is" in line and "swapped" in line for line in lines)
    assert any(line.startswith("refused: CT.0003.IMA: PixelData has") for line in lines)
    assert "left out: 1 files of another kind" in lines
    # The remaining patients are split: two patients are training and test.
    assert sorted(one.split for one in made.series) == ["test", "train"]


def test_nothing_usable_leaves_nothing_behind(tmp_path):
    root = tmp_path / "in"
    fake_dicom.write_series(root, fake_dicom.body(3, noise_hu=10))
    with pytest.raises(ScanError, match=r"in: 1 series, none in a folder .*--full DIR --low"):
        prepare_collection(root, tmp_path / "out")
    root.rename(tmp_path / "full_3mm")
    with pytest.raises(
        ScanError, match=r"no usable pair .* 1 patients have full dose only; .*--simulate_dose"
    ):
        prepare_collection(tmp_path / "full_3mm", tmp_path / "out")
    (tmp_path / "full_3mm").rename(root)
    with pytest.raises(ScanError, match="absent: is not a folder"):
        prepare_collection(tmp_path / "absent", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_unknown_patients_are_refused_before_pixels_are_read(tmp_path, collection, monkeypatch):
    monkeypatch.setattr(Series, "read", lambda one: pytest.fail("was read"))
    with pytest.raises(ConfigError, match="--test: L999 is not a patient, must be among C003"):
        prepare_collection(collection, tmp_path / "out", test=["L999"])
    assert not (tmp_path / "out").exists()


def test_one_study_is_in_one_split(tmp_path):
    """Identifiers are blank, so folders stand for patients, and two are visits of one."""
    for visit in ("visit1", "visit2"):
        fake_dicom.write_pair(tmp_path / "in" / visit, PatientID="", StudyInstanceUID="1.2.3")
    with pytest.raises(ConfigError, match="share a StudyInstanceUID and are in splits"):
        prepare_collection(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_output_in_the_input_is_refused(tmp_path, collection):
    with pytest.raises(StoreError, match="lies in the input"):
        prepare_collection(collection, collection / "store")
    assert not (collection / "store").exists()


def test_nifti_volumes_become_a_store(tmp_path):
    """Pairs in HU are stored; a volume in other units is reported, and the rest goes on."""

    def write(name, volume):
        image = nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.diag([-0.7, -0.7, 3.0, 1.0]))
        nibabel.save(image, tmp_path / "in" / name)

    (tmp_path / "in").mkdir()
    for patient in ("L001", "Jane Doe", "scaled"):
        for level, noise_hu, seed in (("full", 10.0, 1), ("quarter", 20.0, 2)):
            volume = fake_dicom.body(4, noise_hu=noise_hu, seed=seed).astype(np.float32)
            write(
                f"{patient}_{level}.nii.gz", volume / 4000 + 0.5 if patient == "scaled" else volume
            )
    lines = []
    made = prepare_collection(tmp_path / "in", tmp_path / "out", test=["L001"], say=lines.append)
    (one,) = made.split("test")
    assert (one.name, one.thickness_mm, one.kernel) == ("L001-unknown-0mm", 0.0, "unknown")
    assert (one.spacing_mm, one.positions_mm) == (pytest.approx((0.7, 0.7)), (0.0, 3.0, 6.0, 9.0))
    assert len(one.centres(3)) == 2
    np.testing.assert_array_equal(one.low, fake_dicom.body(4, noise_hu=20.0, seed=2).clip(-1024))
    assert len(made.series) == 2
    assert any(line.startswith("refused: scaled_full.nii.gz: values lie between") for line in lines)
    assert not any("Jane" in line for line in lines)


@pytest.fixture
def full_dose(tmp_path):
    root = tmp_path / "full"
    volume = fake_dicom.body(3, noise_hu=4.0, size=64)
    fake_dicom.write_series(root / "scan", volume, PixelSpacing=[4, 4])
    return root


def test_low_dose_is_simulated(tmp_path, full_dose):
    fake_dicom.write_pair(full_dose / "L001", slices=2)
    lines = []
    made = prepare_collection(full_dose, tmp_path / "out", simulate_dose=0.5, say=lines.append)
    assert [one.simulated for one in made.series] == [True, True]
    assert [one.dose for one in made.series] == [0.5, 0.5]
    for one in made.series:
        added = (one.low.astype(float) - one.full)[one.full > -500]
        assert abs(added.mean()) < 3
        assert added.std() > 1
    assert sum("is low dose already" in line for line in lines) == 1


def test_simulated_noise_follows_the_seed(tmp_path, full_dose):
    lows = [
        prepare_collection(full_dose, tmp_path / name, simulate_dose=0.25, seed=seed).series[0].low
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    np.testing.assert_array_equal(lows[0], lows[1])
    assert not np.array_equal(lows[0], lows[2])


def test_simulation_needs_square_pixels(tmp_path, full_dose):
    volume = fake_dicom.body(2, noise_hu=4.0, size=64)
    fake_dicom.write_series(full_dose / "wide", volume, PixelSpacing=[4, 5])
    lines = []
    made = prepare_collection(full_dose, tmp_path / "out", simulate_dose=0.25, say=lines.append)
    assert len(made.series) == 1
    assert any("pixel spacing is 4, 5; both must be equal to simulate" in line for line in lines)


@pytest.mark.parametrize("dose", [0.0, 1.0, -0.5, 25.0, float("nan")])
def test_dose_is_a_fraction(tmp_path, full_dose, dose):
    with pytest.raises(ConfigError, match="must be between 0 and 1"):
        prepare_collection(full_dose, tmp_path / "out", simulate_dose=dose)
    with pytest.raises(ConfigError, match="must be between 0 and 1"):
        prepare.prepare_phantoms(1, tmp_path / "out", dose=dose)


@pytest.mark.slow
def test_phantoms(tmp_path):
    made = prepare.prepare_phantoms(4, tmp_path / "out", slices=3, size=64, seed=5)
    assert [one.name for one in made.series] == [f"phantom-00{n}" for n in range(4)]
    assert [one.split for one in made.series] == ["train", "train", "validation", "test"]
    for one in made.series:
        assert one.full.shape == (3, 64, 64)
        assert one.simulated
        assert one.centres(3).tolist() == [1]
        tissue = (one.full > -100) & (one.full < 200)
        added = (one.low.astype(float) - one.full)[tissue]
        assert abs(added.mean()) < 0.2 * added.std()
        for lesion in one.lesions:
            assert set(lesion) == {"z", "y", "x", "radius_mm", "contrast_hu"}
    assert not np.array_equal(made.series[0].full, made.series[1].full)
    again = prepare.prepare_phantoms(4, tmp_path / "again", slices=3, size=64, seed=5)
    assert made.fingerprint == again.fingerprint
    other = prepare.prepare_phantoms(4, tmp_path / "other", slices=3, size=64, seed=6)
    assert made.fingerprint != other.fingerprint


def test_slices_that_are_closer_are_more_alike(tmp_path):
    def step_hu(interval_mm):
        made = prepare.prepare_phantoms(
            1, tmp_path / f"{interval_mm:g}", slices=4, size=96, interval_mm=interval_mm
        )
        one = made.series[0]
        assert one.positions_mm == tuple(interval_mm * z for z in range(4))
        assert one.thickness_mm == interval_mm
        return np.std(one.full[3].astype(float) - one.full[0])

    assert step_hu(0.5) < 0.5 * step_hu(10.0)


@pytest.mark.parametrize(
    ("count", "test_count", "validation_count", "expected"),
    [
        (1, None, None, "train"),
        (2, None, None, "train test"),
        (3, None, None, "train validation test"),
        (4, 2, None, "train validation test test"),
        (10, None, None, "train " * 7 + "validation test test"),
        (2, 0, None, "train validation"),
        (6, 2, 3, "train validation validation validation test test"),
        (3, 1, 0, "train train test"),
    ],
)
def test_phantom_splits(count, test_count, validation_count, expected):
    names = [str(number) for number in range(count)]
    splits = prepare._phantom_splits(names, test_count, validation_count)
    assert [splits[name] for name in names] == expected.split()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "--phantom is 0, must be at least 1"),
        ({"slices": 0}, "--slices is 0"),
        ({"size": -4}, "--size is -4"),
        ({"interval_mm": 0.0}, "--interval_mm: 0.0; it must be positive"),
        ({"interval_mm": float("nan")}, "--interval_mm: nan; it must be a finite number"),
        ({"seed": -1}, "--seed: -1; it must be in"),
        ({"test_count": 2}, "test_count is 2, must leave one of 2"),
        ({"validation_count": 1}, "validation_count is 1, must leave one of 1"),
    ],
)
def test_phantoms_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        prepare.prepare_phantoms(**({"count": 2, "output": tmp_path / "out"} | changes))
    assert not list(tmp_path.iterdir())


def run(*flags):
    command = [sys.executable, str(CHECKOUT / "prepare.py"), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)


def test_the_command(tmp_path, collection):
    done = run("--input", collection, "--output", tmp_path / "out", "--test", "L001,L002")
    assert done.returncode == 0, done.stderr
    assert "test: L001, L002" in done.stdout
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["series"]) == 4
    again = run("--input", collection, "--output", tmp_path / "out")
    assert again.returncode == 2
    assert again.stderr == "error: out: is not empty, --output must be a new folder\n"
    neither = run("--output", tmp_path / "out2")
    assert neither.returncode == 2
    assert neither.stderr == "error: --input and --phantom: give one of them\n"
    page = tmp_path / "page.html"
    checked = run("--input", collection, "--check", "--report", page)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.endswith("checked; nothing was written\n")
    assert "<h2>Split</h2>" in page.read_text()


@pytest.mark.real_data
def test_real_collection(tmp_path, real_data):
    root = real_data / "mayo-2016"
    made = prepare_collection(root, tmp_path / "out", test=["L096"])
    assert {one.name: len(one.full) for one in made.series} == {
        "L096-D45f-3mm": 10,
        "L143-B30f-3mm": 7,
        "L143-D45f-3mm": 4,
        "L192-B30f-3mm": 7,
        "L192-D45f-3mm": 4,
        "L286-D45f-3mm": 4,
    }
    assert [one.patient for one in made.split("test")] == ["L096"]
    for one in made.series:
        # The two dose levels differ by noise only: hardly in their means, and by no shift.
        tissue = (one.full > -200) & (one.full < 300)
        difference = (one.low.astype(float) - one.full)[tissue]
        assert abs(difference.mean()) < 0.05 * difference.std()
        assert len(one.centres(3)) == 0  # excerpts: single slices


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        (["--phantom=2", "--output=STORE", "--test=a"], "test"),
        (["--phantom=2", "--output=STORE", "--split_by=lodopab"], "split_by"),
        (["--input=IN", "--output=STORE", "--slices=9"], "slices"),
        (["--input=IN", "--output=STORE", "--size=64"], "size"),
    ],
)
def test_flags_without_effect_are_refused(monkeypatch, given, flag):
    from cpca_jax.programs import prepare as program

    program.PROGRAM.flags.unparse_flags()
    for name in program.PROGRAM.flags:
        program.PROGRAM.flags[name].unparse()
    program.PROGRAM.parse(["prepare.py", *given])
    with pytest.raises(ConfigError, match=f"--{flag}: it has no effect here"):
        program.main()
