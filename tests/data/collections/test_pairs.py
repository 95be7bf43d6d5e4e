"""Pairs of dose levels and splits of patients."""

import shutil

import fake_dicom
import numpy as np
import pytest

from cpca_jax.data import folders
from cpca_jax.data.collections import doses, pairs
from cpca_jax.data.dicom import search
from cpca_jax.errors import ConfigError, ScanError


def found_pairs(root):
    return pairs.find_pairs(search.find_series(root).series)


def volumes(pair):
    return pair.full.read(), pair.low.read()


@pytest.mark.parametrize(
    ("names", "level"),
    [
        (["full_3mm"], "full"),
        (["quarter_1mm_sharp"], "low"),
        (["1.000000-Full dose images-92811"], "full"),
        (["1.000000-Low Dose Images-00959"], "low"),
        (["Full Dose", "3mm Slice Thickness", "Sharp Kernel (D45)", "L096"], "full"),
        (["full_3mm", "quarter_3mm"], "low"),  # the innermost folder decides
        (["Quarter Dose", "L096", "quarter_3mm_sharp_sorted"], "low"),
        (["FD_1mm"], "full"),
        (["QD_1mm"], "low"),
        (["full and low dose"], None),
        (["full body", "lower abdomen", "L096"], None),
        ([], None),
    ],
)
def test_dose_level_is_what_the_folder_is_called(names, level):
    assert folders.dose_level(names) == level


def test_pairs_by_patient_kernel_and_thickness(tmp_path):
    for patient in ("L001", "L002"):
        for kernel in ("B30f", "D45f"):
            for thickness in (1.0, 3.0):
                fake_dicom.write_pair(
                    tmp_path / patient / f"{kernel}-{thickness}",
                    slices=2,
                    ConvolutionKernel=kernel,
                    SliceThickness=thickness,
                    PatientID="Anonymous",
                )
    found, refused = found_pairs(tmp_path)
    assert not refused
    assert len(found) == 8
    for pair in found:
        assert pair.full.dose_level == "full"
        assert pair.low.dose_level == "low"
        assert pair.full.first.path.parents[1] == pair.low.first.path.parents[1]


def test_slices_match_by_position_not_by_name(tmp_path):
    patient = fake_dicom.write_pair(tmp_path / "L001", full_hu=0.1, low_hu=5.0)
    files = sorted((patient / "quarter_3mm").iterdir())
    for number, path in enumerate(files):
        path.rename(path.with_name(f"shuffled{(3 * number) % 5}"))
    ((pair,), _) = found_pairs(tmp_path)
    full, low = volumes(pair)
    # The phantom's soft tissue is 5 HU brighter from slice to slice.
    levels = [np.median(v[v > -500]) for v in low.astype(float)]
    np.testing.assert_allclose(levels, 40 + 5 * np.arange(5), atol=1)
    np.testing.assert_allclose([np.median(v[v > -500]) for v in full], 40 + 5 * np.arange(5))


def test_unpaired_slices_are_refused(tmp_path):
    patient = fake_dicom.write_pair(tmp_path / "L001")
    (patient / "quarter_3mm" / "CT.0002.IMA").unlink()
    found, (message,) = found_pairs(tmp_path)
    assert not found
    assert "1 of 5 full-dose and 0 of 4 low-dose slices have no partner" in message
    assert "first: 6 mm" in message


def test_shifted_positions_are_refused(tmp_path):
    write = fake_dicom.write_series
    write(tmp_path / "L001" / "full_3mm", fake_dicom.body(3, noise_hu=9))
    write(
        tmp_path / "L001" / "quarter_3mm",
        fake_dicom.body(3, noise_hu=20),
        positions_mm=[0.0, 2.02, 4.0],
    )
    found, (message,) = found_pairs(tmp_path)
    assert not found
    assert "1 of 3 full-dose and 1 of 3 low-dose" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PixelSpacing": [0.76, 0.76]}, "pixel spacing is (0.75, 0.75) in the full"),
        ({"ImageOrientationPatient": [0, 1, 0, -1, 0, 0]}, "orientation differs"),
        (
            {"ImagePositionPatient": [-99.0, -90.0, 0.0]},
            "slices lie 1 mm apart in the two dose levels",
        ),
        ({"ConvolutionKernel": "D45f"}, "no low dose level"),
        ({"SliceThickness": 1.0}, "no low dose level"),
        ({"PatientID": "L002"}, "no low dose level"),
    ],
)
def test_other_geometry_is_refused(tmp_path, changes, message):
    volume = fake_dicom.body(1, noise_hu=10)
    fake_dicom.write_series(tmp_path / "full_3mm", volume, PatientID="L001")
    changes = {"PatientID": "L001"} | changes
    fake_dicom.write_series(tmp_path / "quarter_3mm", volume, **changes)
    found, refused = found_pairs(tmp_path)
    assert not found
    assert any(message in line for line in refused)


def test_other_matrix_is_refused(tmp_path):
    for folder, size in (("full_3mm", 48), ("quarter_3mm", 40)):
        fake_dicom.write_series(tmp_path / folder, fake_dicom.body(1, noise_hu=10, size=size))
    found, (message,) = found_pairs(tmp_path)
    assert not found
    assert "rows and columns are (48, 48) in the full and (40, 40)" in message


def test_unnamed_dose_level_is_refused(tmp_path):
    fake_dicom.write_series(tmp_path / "scan", fake_dicom.body(2, noise_hu=10))
    found, (message,) = found_pairs(tmp_path)
    assert not found
    assert "no full or low dose level" in message


def test_several_series_pair_by_geometry_or_not_at_all(tmp_path):
    """Two table positions of one patient pair one to one; a copy makes it ambiguous."""
    for part, start in (("upper", 0.0), ("lower", 100.0)):
        for folder, noise_hu in (("full_3mm", 10.0), ("quarter_3mm", 20.0)):
            fake_dicom.write_series(
                tmp_path / "L001" / part / folder,
                fake_dicom.body(3, noise_hu=noise_hu),
                positions_mm=[start, start + 2, start + 4],
            )
    found, refused = found_pairs(tmp_path / "L001")
    assert (len(found), refused) == (2, [])
    assert all(pair.full.positions_mm == pair.low.positions_mm for pair in found)
    shutil.copytree(tmp_path / "L001" / "upper", tmp_path / "L001" / "copy")
    found, (message,) = found_pairs(tmp_path / "L001")
    assert not found
    assert "3 full-dose and 3 low-dose series in 5 combinations" in message


def test_noise_is_that_of_white_noise_and_ignores_anatomy():
    image = fake_dicom.body(1, noise_hu=25.0, size=200)[0]
    tissue = image > -500
    assert doses.noise_sd_hu(image, tissue) == pytest.approx(25.0, rel=0.05)
    y, x = np.mgrid[:200, :200]
    assert doses.noise_sd_hu(image + 3.0 * x + 2.0 * y, tissue) == pytest.approx(25.0, rel=0.05)


def body16(noise_hu, seed=0):
    volume = fake_dicom.body(4, noise_hu=noise_hu, seed=seed)
    return np.clip(volume, -1024, 3000).astype(np.int16)


def test_noisier_low_dose_is_accepted():
    full_hu, low_hu = doses.check_doses("x", body16(10.0, 1), body16(20.0, 2))
    assert low_hu / full_hu == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    ("full", "low", "message"),
    [
        (body16(20.0, 1), body16(10.0, 2), "are the dose levels swapped"),
        (body16(20.0, 1), body16(20.0, 2), "the low dose must be noisier"),
        (body16(20.0, 1), body16(20.0, 1), "4 of 4 slices have the same pixels"),
        (body16(1.0, 1) - 900, body16(20.0, 1) - 900, "no slice shows soft tissue"),
    ],
)
def test_pixels_that_are_not_two_dose_levels(full, low, message):
    with pytest.raises(ScanError, match=message):
        doses.check_doses("x", full, low)


def test_one_equal_slice_is_enough_to_refuse():
    full, low = body16(10.0, 1), body16(20.0, 2)
    low[3] = full[3]
    with pytest.raises(ScanError, match="1 of 4 slices have the same pixels"):
        doses.check_doses("x", full, low)


def test_dose_of_the_collections():
    assert doses.dose_fraction("C121") == 0.1
    assert doses.dose_fraction("L096") == doses.dose_fraction("case-12345678") == 0.25


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (1, (1, 0, 0)),
        (2, (1, 0, 1)),
        (3, (1, 1, 1)),
        (4, (2, 1, 1)),
        (10, (6, 2, 2)),
        (100, (70, 15, 15)),
    ],
)
def test_sizes_of_the_splits(count, sizes):
    splits = pairs.split_patients([f"L{n:03d}" for n in range(count)])
    assert tuple(list(splits.values()).count(split) for split in pairs.SPLITS) == sizes


def test_split_depends_on_seed_and_names_alone():
    patients = [f"L{n:03d}" for n in range(20)]
    splits = pairs.split_patients(patients)
    assert splits == pairs.split_patients([*reversed(patients), *patients])
    assert splits != pairs.split_patients(patients, seed=1)


def test_lists_win():
    patients = [f"L{n:03d}" for n in range(10)]
    splits = pairs.split_patients(patients, test=["L003"], validation=["L004", "L005"])
    assert [p for p in patients if splits[p] == "test"] == ["L003"]
    assert [p for p in patients if splits[p] == "validation"] == ["L004", "L005"]
    splits = pairs.split_patients(patients, test=["L003"])
    assert list(splits.values()).count("test") == 1
    assert list(splits.values()).count("train") == 9
    assert set(pairs.split_patients(patients, test=patients).values()) == {"test"}


def test_lists_that_cannot_be():
    with pytest.raises(ConfigError, match="--test: L9 is not a patient, must be among L1, L2"):
        pairs.split_patients(["L2", "L1"], test=["L9"])
    with pytest.raises(ConfigError, match="L1 is in both"):
        pairs.split_patients(["L2", "L1"], test=["L1"], validation=["L1"])


@pytest.mark.real_data
def test_real_pairs(real_data):
    found, refused = found_pairs(real_data / "mayo-2016")
    assert not refused
    counts = {pair.label: len(pair.full.headers) for pair in found}
    assert counts == {
        "L096 D45f 3 mm": 10,
        "L143 B30f 3 mm": 7,
        "L143 D45f 3 mm": 4,
        "L192 B30f 3 mm": 7,
        "L192 D45f 3 mm": 4,
        "L286 D45f 3 mm": 4,
    }
    for pair in found:
        full_hu, low_hu = doses.check_doses(pair.label, *volumes(pair))
        assert 1.9 < low_hu / full_hu < 2.3
        with pytest.raises(ScanError, match="swapped"):
            doses.check_doses(pair.label, *reversed(volumes(pair)))
    by_label = {pair.label: volumes(pair) for pair in found}
    for kernel in ("B30f", "D45f"):
        full, _ = by_label[f"L143 {kernel} 3 mm"]
        _, low = by_label[f"L192 {kernel} 3 mm"]
        with pytest.raises(ScanError, match="anatomy of the dose levels agrees to"):
            doses.check_doses("x", full, low)
