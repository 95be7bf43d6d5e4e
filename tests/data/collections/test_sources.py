"""The contents of folders are recognised: public collections, plain folders, NIfTI, LoDoPaB."""

import shutil

import fake_dicom
import nibabel
import numpy as np
import pytest

from cpca_jax.data import folders, listing
from cpca_jax.data.collections import sources
from cpca_jax.data.collections.sources import Inputs
from cpca_jax.data.dicom import header_pool, search
from cpca_jax.data.scan import FOREIGN
from cpca_jax.denoising.denoiser import IDENTITY, load_run
from cpca_jax.denoising.folder import DenoisingOptions, denoise_folder
from cpca_jax.errors import ConfigError, DicomError, ScanError, VolumeError


def silent(items, description, total):
    return items


def gathered(*paths, **sides):
    return sources.gather(Inputs(*paths, **sides), track=silent)


def paired(got, *, simulate=False):
    chosen, refused, alone = sources.choose_pairs(got, simulate=simulate)
    return {(p.label, p.full.shape[0]) for p in chosen}, refused, alone


def write_levels(places, **changes):
    for place, noise_hu, seed in zip(places, (10.0, 20.0), (1, 2), strict=True):
        fake_dicom.write_series(place, fake_dicom.body(3, noise_hu=noise_hu, seed=seed), **changes)


@pytest.mark.parametrize(
    ("full", "low"),
    [
        ("L067/full_3mm", "L067/quarter_3mm"),
        ("L067/full_3mm_sharp", "L067/quarter_3mm_sharp"),
        ("L067/full_1mm", "L067/quarter_1mm"),
        ("3mm B30/FD_3mm/L067/full_3mm", "3mm B30/QD_3mm/L067/quarter_3mm"),
        ("full_dose/L067/full_1mm", "quarter_dose/L067/quarter_1mm"),
        ("Training_Image_Data/3mm B30/FD_3mm/L067", "Training_Image_Data/3mm B30/QD_3mm/L067"),
        (
            "Full Dose/3mm Slice Thickness/Sharp Kernel (D45)/L067/full_3mm_sharp_sorted",
            "Quarter Dose/3mm Slice Thickness/Sharp Kernel (D45)/L067/quarter_3mm_sharp_sorted",
        ),
    ],
)
def test_the_2016_challenge_in_its_variants(tmp_path, full, low):
    """All patients are Anonymous, and low-dose files have the dose tags of the full dose."""
    tags = {"PatientID": "Anonymous", "Exposure": "266", "CTDIvol": 10.486}
    write_levels([tmp_path / full, tmp_path / low], **tags)
    got = gathered(tmp_path)
    assert (got.kind, got.layout) == ("DICOM", "AAPM-Mayo 2016")
    assert paired(got) == ({("L067 B30f 3 mm", 3)}, [], ())


def test_kernels_and_thicknesses_of_one_patient_stay_apart(tmp_path):
    for folder, kernel, thickness in (
        ("3mm", "B30f", 3),
        ("3mm_sharp", "D45f", 3),
        ("1mm", "B30f", 1),
    ):
        places = [tmp_path / "L067" / f"{level}_{folder}" for level in ("full", "quarter")]
        write_levels(places, PatientID="", ConvolutionKernel=kernel, SliceThickness=thickness)
    labels, refused, _ = paired(gathered(tmp_path))
    assert labels == {("L067 B30f 3 mm", 3), ("L067 D45f 3 mm", 3), ("L067 B30f 1 mm", 3)}
    assert not refused


def test_tcia_as_downloaded(tmp_path):
    root = tmp_path / "manifest-1" / "LDCT-and-Projection-data"
    study = root / "C002" / "12-23-2021-NA-NA-62464"
    full, low = study / "1.000000-Full Dose Images-22038", study / "1.000000-Low dose images-39882"
    write_levels([full, low], PatientID="C002")
    for name in ("2.000000-Full Dose Projections-00001", "3.000000-Low dose projections-00002"):
        for number in range(4):
            path = study / name / f"1-{number}.dcm"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"never opened")
    only = root / "L300" / "01-01-2022-NA-NA-1" / "1.000000-Full dose images-1"
    fake_dicom.write_series(only, fake_dicom.body(3, noise_hu=9), PatientID="L300")
    got = gathered(tmp_path)
    assert got.layout == "TCIA LDCT-and-Projection-data"
    assert got.found.left_out["projections"] == 8
    assert (got.found.left_out[FOREIGN], got.found.refused) == (0, ())
    assert paired(got) == ({("C002 B30f 3 mm", 3)}, [], ("L300",))
    assert paired(got, simulate=True)[0] == {("C002 B30f 3 mm", 3), ("L300 B30f 3 mm", 3)}


def test_nothing_but_projections(tmp_path):
    place = tmp_path / "LDCT-and-Projection-data" / "C002" / "2.000000-Full Dose Projections-1"
    fake_dicom.write_series(place, fake_dicom.body(2, noise_hu=9))
    with pytest.raises(ScanError, match=r"no CT images among 0 files \(2 projections set aside\)"):
        gathered(tmp_path)


@pytest.mark.parametrize("patient", ["Anonymous", "4711", "L067"])
@pytest.mark.parametrize("below", ["", "scan one"])
def test_two_plain_folders(tmp_path, patient, below):
    """The names of the folders tell no dose level, or even a wrong one."""
    one, other = tmp_path / "A" / "quarter_3mm", tmp_path / "B"
    write_levels([one / below, other / below], PatientID=patient)
    got = gathered(full=one, low=other)
    labels, refused, alone = paired(got)
    assert (len(labels), refused, alone) == (1, [], ())
    assert all(
        pair.full.files[0].is_relative_to(one)
        for pair in sources.choose_pairs(got, simulate=False)[0]
    )


def test_two_patients_in_two_plain_folders_are_no_pair(tmp_path):
    fake_dicom.write_series(tmp_path / "A", fake_dicom.body(3, noise_hu=9), PatientID="1")
    fake_dicom.write_series(tmp_path / "B", fake_dicom.body(3, noise_hu=9), PatientID="2")
    labels, refused, alone = paired(gathered(full=tmp_path / "A", low=tmp_path / "B"))
    assert not labels
    assert any("no full dose level" in message for message in refused)
    assert len(alone) == 1


def test_full_dose_alone_in_a_folder_called_otherwise(tmp_path):
    write_levels([tmp_path / "quarter_3mm", tmp_path / "B"])
    got = gathered(full=tmp_path / "quarter_3mm")
    assert len(got.found.scans) == 1
    assert paired(got, simulate=True)[1] == []
    assert paired(gathered(tmp_path / "quarter_3mm"), simulate=True)[1] != []


def test_two_folders_of_different_kinds(tmp_path):
    write_levels([tmp_path / "A", tmp_path / "B"])
    write_nifti(tmp_path / "C" / "a.nii", noise_hu=10.0, seed=1)
    with pytest.raises(ConfigError, match="hold DICOM and NIfTI, must be alike"):
        gathered(full=tmp_path / "A", low=tmp_path / "C")


def test_doses_that_no_name_tells_are_asked_for(tmp_path):
    write_levels([tmp_path / "in" / "first", tmp_path / "in" / "second"])
    with pytest.raises(ScanError, match=r"in: 2 series, none in a folder .*--full DIR --low DIR"):
        paired(gathered(tmp_path / "in"))


@pytest.mark.parametrize(
    ("names", "simulate", "message"),
    [
        ({"both": "a", "full": "b"}, False, "--input and --full"),
        ({}, False, "--input or --full"),
        ({"low": "a"}, False, "--input or --full"),
        ({"full": "a"}, False, "--full: give --low DIR or --simulate_dose"),
        ({"full": "a", "low": "b"}, True, "one of them"),
        ({"full": "a", "low": "a/b"}, False, "one lies in the other"),
        ({"full": "a", "low": "a"}, False, "one lies in the other"),
    ],
)
def test_folders_that_do_not_go_together(tmp_path, names, simulate, message):
    with pytest.raises(ConfigError, match=message):
        Inputs(**{name: tmp_path / path for name, path in names.items()}).check(simulate=simulate)


def write_nifti(path, *, noise_hu, seed, shift_mm=0.0):
    volume = fake_dicom.body(6, noise_hu=noise_hu, seed=seed).astype(np.int16)
    affine = np.diag([-0.7, -0.7, 3.0, 1.0])
    affine[2, 3] = shift_mm
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume.transpose(2, 1, 0), affine), path)
    return volume


@pytest.mark.parametrize(
    ("full", "low"),
    [
        ("case one_full.nii.gz", "case one_quarter.nii.gz"),
        ("full/case one.nii", "quarter/case one.nii.gz"),
        ("case one/full.nii", "case one/quarter.nii"),
        ("case one/FD_1mm.nii", "case one/QD_1mm.nii"),
    ],
)
def test_nifti_pairs(tmp_path, full, low):
    expected = write_nifti(tmp_path / full, noise_hu=10.0, seed=1)
    write_nifti(tmp_path / low, noise_hu=20.0, seed=2)
    write_nifti(tmp_path / "other_full.nii", noise_hu=10.0, seed=3)
    (tmp_path / "notes.txt").write_text("x")
    got = gathered(tmp_path)
    assert (got.kind, got.found.left_out[FOREIGN]) == ("NIfTI", 1)
    chosen, refused, alone = sources.choose_pairs(got, simulate=False)
    assert (len(chosen), refused, len(alone)) == (1, [], 1)
    (pair,) = chosen
    assert np.diff(pair.full.positions_mm) == pytest.approx((3.0,) * 5)
    assert pair.full.spacing_mm == pytest.approx((0.7, 0.7))
    np.testing.assert_array_equal(pair.full.read(), expected.clip(-1024))
    assert "case" in pair.full.patient
    assert "one" not in pair.label


def test_nifti_of_other_geometry_is_no_pair(tmp_path):
    write_nifti(tmp_path / "a_full.nii", noise_hu=10.0, seed=1)
    write_nifti(tmp_path / "a_quarter.nii", noise_hu=20.0, seed=2, shift_mm=1.0)
    labels, (message,), _ = paired(gathered(tmp_path))
    assert not labels
    assert "6 of 6 full-dose and 6 of 6 low-dose slices have no partner" in message


def test_damaged_nifti_is_refused_and_the_rest_goes_on(tmp_path):
    (tmp_path / "a.nii").write_text("x" * 400)
    with pytest.raises(VolumeError, match=r"no usable NIfTI volume among 1; first refused: a.nii"):
        gathered(tmp_path)
    write_nifti(tmp_path / "b_full.nii", noise_hu=10.0, seed=1)
    got = gathered(tmp_path)
    assert len(got.found.scans) == 1
    assert got.found.refused[0].startswith("a.nii: is no NIfTI file")


def test_dicom_goes_before_nifti(tmp_path):
    write_levels([tmp_path / "full_3mm", tmp_path / "quarter_3mm"])
    write_nifti(tmp_path / "a_mask.nii", noise_hu=10.0, seed=1)
    got = gathered(tmp_path)
    assert (got.kind, got.found.left_out[FOREIGN]) == ("DICOM", 1)


@pytest.mark.parametrize(
    ("name", "above", "same_as"),
    [
        ("L067_full", ("in",), "L067"),
        ("L067", ("in", "full"), "L067"),
        ("full", ("in", "L067"), "L067"),
        ("Awful", ("in",), None),
    ],
)
def test_patients_of_volumes(name, above, same_as):
    key = folders.patient_of_volume(name, above)
    assert key == same_as if same_as else key != folders.patient_of_volume("Aw", above)


def test_volumes_of_one_name_in_two_folders_are_two_patients():
    assert folders.patient_of_volume("ct_full", ("in", "a")) == folders.patient_of_volume(
        "ct", ("in", "a", "quarter")
    )
    assert folders.patient_of_volume("ct", ("in", "a")) != folders.patient_of_volume(
        "ct", ("in", "b")
    )


def test_dicomdir_and_hidden_files_are_never_opened(tmp_path, monkeypatch):
    write_levels([tmp_path / "full_3mm", tmp_path / "quarter_3mm"])
    for path in (tmp_path / "DICOMDIR", tmp_path / "full_3mm" / "DICOMDIR", tmp_path / ".x"):
        path.write_bytes(b"../../../etc/passwd")
    opened = []
    is_dicom = header_pool.slice_file.is_dicom
    monkeypatch.setattr(
        header_pool.slice_file, "is_dicom", lambda p: opened.append(p.name) or is_dicom(p)
    )
    assert gathered(tmp_path).found.left_out[FOREIGN] == 0
    assert opened
    assert not {"DICOMDIR", ".x"} & set(opened)


def test_folders_are_listed_once(tmp_path, monkeypatch):
    root = tmp_path / "in"
    write_levels([root / "full_3mm", root / "quarter_3mm"])
    walked = []
    walk = listing.os.walk
    monkeypatch.setattr(
        listing.os,
        "walk",
        lambda top, **options: walked.append(str(top)) or walk(top, **options),
    )
    gathered(root)
    assert walked == [str(root)]
    gathered(full=root / "full_3mm", low=root / "quarter_3mm")
    assert walked[1:] == [str(root / "full_3mm"), str(root / "quarter_3mm")]
    walked.clear()
    denoise_folder(load_run(IDENTITY), root, tmp_path / "out", DenoisingOptions(repair_uids=True))
    assert walked == [str(root)]


def test_a_file_that_vanishes_is_named(tmp_path):
    write_levels([tmp_path / "full_3mm", tmp_path / "quarter_3mm"])
    paths = listing.list_files(tmp_path).paths
    paths[3].unlink()
    with pytest.raises(
        DicomError, match=f"{paths[3].name}: vanished while being read; start again"
    ):
        list(header_pool.read_headers(paths, root=tmp_path))
    paths[3].symlink_to(tmp_path / "nowhere")
    assert "is a link that leads nowhere" in str(
        list(header_pool.read_headers(paths, root=tmp_path))[3]
    )


def test_all_cores_read_the_same_as_one(tmp_path):
    write_levels([tmp_path / "full_3mm", tmp_path / "quarter_3mm"])
    fake_dicom.write_slice(tmp_path / "mr", fake_dicom.body(1, noise_hu=1)[0], Modality="MR")
    (tmp_path / "notes").write_text("x" * 200)
    paths = listing.list_files(tmp_path).paths
    one, two = (
        list(header_pool.read_headers(paths, root=tmp_path, processes=count)) for count in (1, 2)
    )
    assert list(map(repr, one)) == list(map(repr, two))
    kinds = [type(result).__name__ for result in one]
    assert sorted(kinds) == sorted([*["Header"] * 6, "NotCTError", "NoneType"])


def test_a_hundred_thousand_slices_are_grouped_quickly(tmp_path):
    """The test makes headers only, because writing a hundred thousand files takes minutes."""
    import dataclasses
    import time

    fake_dicom.write_slice(tmp_path / "a", fake_dicom.body(1, noise_hu=1)[0])
    header = search.find_series(tmp_path).series[0].first
    headers = [
        dataclasses.replace(
            header, path=tmp_path / f"{n % 400}" / str(n), origin_mm=(0.0, 0.0, float(n))
        )
        for n in range(100_000)
    ]
    start = time.process_time()
    found, refused = search.group(headers)
    seconds = time.process_time() - start
    assert (len(found), refused) == (400, [])
    assert all(len(one.headers) == 250 for one in found)
    # Measured: 3 s. A step that is quadratic in the slices would take hours.
    assert seconds < 30


def test_the_same_anatomy_or_no_pair(tmp_path):
    from cpca_jax.data.collections import doses

    full = fake_dicom.body(3, noise_hu=10, seed=1).astype(np.int16)
    low = fake_dicom.body(3, noise_hu=20, seed=2).astype(np.int16)
    doses.check_doses("x", full, low)
    with pytest.raises(ScanError, match=r"anatomy of the dose levels agrees to 0\.\d+ only"):
        doses.check_doses("x", full, np.roll(low, 16, axis=1))


def test_noise_is_not_measured_where_air_is_clipped():
    """Clipping at -1024 HU removes half of the low dose's noise in air, and shifts its mean."""
    from cpca_jax.data.collections import doses

    full, low = (
        np.maximum(fake_dicom.body(3, noise_hu=sd, seed=seed, size=160), -1024).astype(np.int16)
        for sd, seed in ((30.0, 1), (60.0, 2))
    )
    full_hu, low_hu = doses.check_doses("x", full, low)
    assert full_hu == pytest.approx(30, rel=0.1)
    assert low_hu == pytest.approx(60, rel=0.1)


def test_copies_of_a_patient_are_ambiguous_not_doubled(tmp_path):
    fake_dicom.write_pair(tmp_path / "one" / "L067", PatientID="")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    labels, (message,), _ = paired(gathered(tmp_path))
    assert not labels
    assert "must be one to one" in message
