"""The driver of denoise.py: series of their own, like their sources, whole or not at all."""

import dataclasses
import json
import shutil
import subprocess

import commands
import fake_dicom
import jax
import numpy as np
import pydicom
import pytest
from denoised import CREATED, IDENTITY, STUDY, network, out_series, random_stored, write
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from cpca_jax.data.dicom import slice_file
from cpca_jax.data.dicom.search import find_series
from cpca_jax.data.dicom.stored_values import denoised_values
from cpca_jax.denoising import dicom_series, streaming
from cpca_jax.denoising.before_after import EffectMeter
from cpca_jax.denoising.denoiser import denoise_volume
from cpca_jax.denoising.folder import DenoisingOptions, denoise_folder, parse_shard
from cpca_jax.errors import ConfigError, InputError, OutputError

FORMATS = {
    "unsigned 12": (0, 4095, {}),
    "unsigned 16": (0, 65535, {"BitsStored": 16, "HighBit": 15}),
    "signed 12": (-2048, 2047, {"PixelRepresentation": 1, "RescaleIntercept": 0}),
    "signed 16": (
        -32768,
        32767,
        {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15, "RescaleIntercept": 0},
    ),
    "slope 0.25": (0, 65535, {"RescaleSlope": 0.25, "BitsStored": 16, "HighBit": 15}),
    "slope 2.44140625": (0, 4095, {"RescaleSlope": 2.44140625, "RescaleIntercept": -8192}),
    "slope 0.001": (0, 4095, {"RescaleSlope": 0.001, "RescaleIntercept": 3000}),
    "padding": (0, 4095, {"PixelPaddingValue": 63, "PixelPaddingRangeLimit": 0}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_identity_returns_the_same_stored_values(tmp_path, name):
    low, high, changes = FORMATS[name]
    stored = random_stored(low, high)
    write(tmp_path / "in", stored, **changes)
    denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", DenoisingOptions())
    written = out_series(tmp_path / "out")
    np.testing.assert_array_equal([one.pixel_array for one in written], stored)
    for one in written:
        for attribute in ("BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept"):
            assert one.get(attribute) == changes.get(attribute, one.get(attribute))


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
        JPEGLSLossless,
    ],
)
def test_identity_from_every_transfer_syntax(tmp_path, syntax):
    stored = random_stored(0, 4095, size=32)
    for z, image in enumerate(stored):
        dataset = fake_dicom.ct_slice(image - 1024.0, position_mm=2.0 * z, **STUDY)
        fake_dicom.save(dataset, tmp_path / "in" / str(z), syntax=syntax)
    denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", DenoisingOptions())
    written = out_series(tmp_path / "out")
    np.testing.assert_array_equal([one.pixel_array for one in written], stored)
    for one in written:
        assert (one.Rows, one.BitsStored, one.PixelSpacing) == (32, 12, [0.75, 0.75])
        assert one.SourceImageSequence[0].ReferencedSOPClassUID == one.SOPClassUID
    assert {one.file_meta.TransferSyntaxUID for one in written} == {"1.2.840.10008.1.2.1"}


@pytest.mark.parametrize("slope", [1.0, 0.5, 2.5])
def test_changes_are_written_in_the_files_own_scale(tmp_path, slope):
    (path,) = write(tmp_path, random_stored(1000, 1100)[:1], RescaleSlope=slope).iterdir()
    source = slice_file.read_slice(path)
    stored, clipped = denoised_values(source, source.hu + np.float32(10.0))
    np.testing.assert_array_equal(stored - source.stored, 10 / slope)
    assert clipped == 0
    stored, clipped = denoised_values(source, source.hu + np.float32(1e5))
    assert (stored == 4095).all()
    assert clipped == stored.size


@pytest.mark.parametrize("slices", [1, 3])
def test_pixels_are_those_of_denoise_volume(tmp_path, slices):
    volume = fake_dicom.body(7, noise_hu=20.0, size=32).astype(np.int16)
    fake_dicom.write_series(tmp_path / "in", np.maximum(volume, -1024), **STUDY)
    model = network(slices)
    for batch in (2, 16):
        output = tmp_path / f"out{batch}"
        denoise_folder(model, tmp_path / "in", output, DenoisingOptions(slab=batch))
        want = denoise_volume(model, np.maximum(volume, -1024).astype(np.int16))
        got = np.array([one.pixel_array - 1024.0 for one in out_series(output)])
        assert np.abs(got - np.clip(want, -1024, 3071)).max() <= 0.51  # rounding to whole HU


def test_attributes_of_a_derived_image(tmp_path):
    volume = fake_dicom.body(5, noise_hu=10.0, size=32)
    kept = {"SeriesNumber": 4, "SeriesDescription": "Abdomen " * 7, "InstanceNumber": 3}
    stale = {"SmallestImagePixelValue": 1, "LargestImagePixelValue": 9}
    overlay = {"OverlayRows": 32, "OverlayColumns": 32, "OverlayBitPosition": 12}
    fake_dicom.write_series(tmp_path / "in", volume, **STUDY, **kept, **stale)
    for path in (tmp_path / "in").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.preamble = b"MZ" + b"\1" * 126
        dataset.add_new((0x0009, 0x0010), "LO", "VENDOR")
        dataset.add_new((0x0009, 0x1001), "LO", "private")
        for number, value in enumerate(overlay.values()):
            dataset.add_new((0x6000, (0x0010, 0x0011, 0x0102)[number]), "US", value)
        dataset.save_as(path)
    sources = sorted(map(pydicom.dcmread, (tmp_path / "in").iterdir()), key=_place)
    denoise_folder(network(3), tmp_path / "in", tmp_path / "out", DenoisingOptions(created=CREATED))
    written = out_series(tmp_path / "out")
    for z, (source, one) in enumerate(zip(sources, written, strict=True)):
        assert one.preamble == b"\0" * 128
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
        assert one.SOPInstanceUID.is_valid
        assert len(one.SOPInstanceUID) <= 64
        assert one.ImageType == ["DERIVED", "PRIMARY", "AXIAL"]
        assert "model net" in one.DerivationDescription
        used = [s.SOPInstanceUID for s in sources[max(z - 1, 0) : z + 2]]
        assert [s.ReferencedSOPInstanceUID for s in one.SourceImageSequence] == used
        purposes = {s.PurposeOfReferenceCodeSequence[0].CodeValue for s in one.SourceImageSequence}
        assert purposes == {"121322"}
        equipment = one.ContributingEquipmentSequence[-1]
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109103"
        assert "0000000000000003" in equipment.ContributionDescription
        assert (one.InstanceCreationDate, one.ContentTime) == ("20260131", "123000")
        assert one.SeriesNumber == 1004
        assert one.SeriesDescription.endswith("| denoised, net")
        assert len(one.SeriesDescription) <= 64
        assert not [e for e in one if e.tag.is_private or e.tag.group == 0x6000]
        assert not set(stale) & set(one.dir())
        changed = {"SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription"}
        changed |= {"ImageType", "PixelData", *stale}
        for name in set(source.dir()) - changed:
            if not name.startswith("Overlay"):
                assert one.get(name) == source.get(name), name
    assert len({one.SOPInstanceUID for one in written}) == 5
    assert {one.SeriesInstanceUID for one in written}.isdisjoint({"1.2.3.4"})


def _place(dataset):
    return dataset.ImagePositionPatient[2]


def test_private_elements_are_kept_on_demand(tmp_path):
    path = fake_dicom.write_slice(tmp_path / "in" / "a", fake_dicom.body(1, noise_hu=9)[0], **STUDY)
    dataset = pydicom.dcmread(path)
    dataset.add_new((0x0009, 0x0010), "LO", "VENDOR")
    dataset.add_new((0x0009, 0x1001), "LO", "private")
    dataset.save_as(path)
    denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", DenoisingOptions(keep_private=True))
    assert out_series(tmp_path / "out")[0][0x0009, 0x1001].value == "private"


def test_uids_follow_source_and_model_and_a_second_run_gives_the_same_bytes(tmp_path):
    fake_dicom.write_series(tmp_path / "in", fake_dicom.body(2, noise_hu=9, size=32), **STUDY)
    choices = DenoisingOptions(created=CREATED)
    for name, model in {"a": IDENTITY, "b": IDENTITY, "c": network(1)}.items():
        denoise_folder(model, tmp_path / "in", tmp_path / name, choices)
    files = {name: sorted((tmp_path / name).glob("*/*.dcm")) for name in "abc"}
    assert [p.read_bytes() for p in files["a"]] == [p.read_bytes() for p in files["b"]]
    a, c = (pydicom.dcmread(files[name][0]) for name in "ac")
    assert a.SOPInstanceUID != c.SOPInstanceUID
    assert a.SeriesInstanceUID != c.SeriesInstanceUID
    assert a.StudyInstanceUID == c.StudyInstanceUID == "1.2.3"


def test_many_series_shards_and_a_second_run(tmp_path):
    for number in range(5):
        volume = fake_dicom.body(2, noise_hu=9, seed=number)
        fake_dicom.write_series(
            tmp_path / "in" / str(number), volume, SeriesInstanceUID=f"1.2.{number}", **STUDY
        )
    output = tmp_path / "out"
    states = []
    for i in (1, 2, 1):
        summary = denoise_folder(IDENTITY, tmp_path / "in", output, DenoisingOptions(shard=(i, 2)))
        states.append([one["state"] for one in summary["series"].values()])
    assert states == [["denoised"] * 3, ["denoised"] * 2, ["there already"] * 3]
    assert len([path for path in output.iterdir() if path.is_dir()]) == 5
    assert sorted(path.name for path in output.glob("summary*")) == [
        "summary-1-of-2.json",
        "summary-2-of-2.json",
    ]
    name = next(iter(json.loads((output / "summary-1-of-2.json").read_text())["series"]))
    only = denoise_folder(
        IDENTITY, tmp_path / "in", tmp_path / "one", DenoisingOptions(series=(name,))
    )
    assert list(only["series"]) == [name]
    with pytest.raises(ConfigError, match="--series: x is none of B30f-"):
        denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "two", DenoisingOptions(series=("x",)))


def test_another_model_does_not_overwrite(tmp_path):
    fake_dicom.write_series(tmp_path / "in", fake_dicom.body(2, noise_hu=9, size=32), **STUDY)
    denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", DenoisingOptions())
    before = [path.read_bytes() for path in sorted((tmp_path / "out").glob("*/*.dcm"))]
    with pytest.raises(InputError, match="nothing is overwritten; give another --output"):
        denoise_folder(network(1), tmp_path / "in", tmp_path / "out", DenoisingOptions())
    assert [p.read_bytes() for p in sorted((tmp_path / "out").glob("*/*.dcm"))] == before


def test_all_slices_or_none(tmp_path):
    """The third file is damaged after its header: its series leaves no slice, and others go on."""
    volume = fake_dicom.body(4, noise_hu=9, size=32)
    fake_dicom.write_series(tmp_path / "in" / "bad", volume, SeriesInstanceUID="1.9", **STUDY)
    fake_dicom.write_series(tmp_path / "in" / "good", volume, **STUDY)
    damaged = tmp_path / "in" / "bad" / "CT.0002.IMA"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"1 of 2 series refused; .*CT.0002.IMA: PixelData has"):
        denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", DenoisingOptions())
    assert len(list((tmp_path / "out").glob("*/*.dcm"))) == 4
    assert not list((tmp_path / "out").glob(".*"))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sorted(one["state"] for one in summary["series"].values()) == ["denoised", "refused"]


def test_compare_draws_and_measures(tmp_path):
    fake_dicom.write_series(tmp_path / "in", fake_dicom.body(5, noise_hu=20, size=32), **STUDY)
    summary = denoise_folder(
        network(1), tmp_path / "in", tmp_path / "out", DenoisingOptions(compare=True)
    )
    ((name, record),) = summary["series"].items()
    page = (tmp_path / "out" / f"{name}.html").read_text()
    assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    effect = record["effect"]
    assert f"{effect['noise_before_hu']:.1f}" in page
    assert effect["noise_before_hu"] == pytest.approx(20, rel=0.2)
    for change in effect["drift_hu"].values():
        assert f"{change:+.2f}" in page
    for told in (page, json.dumps(summary)):
        for secret in ("SECRET", "Secret", "1.2.3.4", str(tmp_path)):
            assert secret not in told


def test_drift_is_the_mean_change_of_each_tissue(tmp_path):
    before = np.full((20, 20), -1000.0, np.float32)
    before[:, 10:] = 50.0
    after = before + np.where(before > 0, 2.0, -3.0).astype(np.float32)
    meter = EffectMeter()
    meter.add(before, after)
    assert meter.effect().drift_hu == {"air": -3.0, "soft tissue": 2.0}
    assert meter.effect().share == {"air": 0.5, "soft tissue": 0.5}


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_shards_that_cannot_be(text):
    with pytest.raises(ConfigError, match="--shard is"):
        parse_shard(text)


def test_weights_that_diverged_are_refused(tmp_path):
    """Otherwise values that are not a number would silently become air."""
    fake_dicom.write_series(tmp_path / "in", fake_dicom.body(2, noise_hu=9, size=32), **STUDY)
    model = network(1)
    broken = dataclasses.replace(
        model, params=jax.tree.map(lambda leaf: leaf * np.nan, model.params)
    )
    with pytest.raises(InputError, match="net: its output is not finite"):
        denoise_folder(broken, tmp_path / "in", tmp_path / "out", DenoisingOptions())
    assert not list((tmp_path / "out").glob("*/*"))


BLANK = {"SOPInstanceUID": "", "SeriesInstanceUID": "", "PatientID": "", "StudyInstanceUID": ""}


def test_series_without_identifiers_are_not_taken_for_each_other(tmp_path):
    """Two patients have one shape, blank UIDs, and the same air in the first slice."""
    for name, seed in (("a", 1), ("b", 2)):
        volume = fake_dicom.body(3, noise_hu=9, seed=seed, size=32)
        volume[0] = -1000
        fake_dicom.write_series(tmp_path / name / "dicom", volume, **BLANK)
    choices = DenoisingOptions(repair_uids=True)
    for name in ("a", "b"):
        denoise_folder(IDENTITY, tmp_path / name, tmp_path / "out", choices)
    written = [pydicom.dcmread(path) for path in (tmp_path / "out").glob("*/*.dcm")]
    assert len(written) == len({one.SOPInstanceUID for one in written}) == 6
    assert len({one.SeriesInstanceUID for one in written}) == 2


def test_changed_pixels_under_the_same_identifiers(tmp_path):
    volume = fake_dicom.body(5, noise_hu=9, size=32)
    folder = fake_dicom.write_series(tmp_path / "in", volume, SOPInstanceUID="1.2.3.9", **STUDY)
    for number, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = f"1.2.3.9.{number}"
        dataset.save_as(path)
    denoise_folder(IDENTITY, folder, tmp_path / "out", DenoisingOptions())
    second = folder / "CT.0002.IMA"
    changed = pydicom.dcmread(second)
    changed.PixelData = bytes(len(changed.PixelData))
    changed.save_as(second)
    with pytest.raises(InputError, match="from another model or input, and nothing is overwritten"):
        denoise_folder(IDENTITY, folder, tmp_path / "out", DenoisingOptions())


@pytest.mark.parametrize("other", [IDENTITY, network(1)])
def test_two_processes_at_once(tmp_path, monkeypatch, other):
    """The other process finishes first; its files stay, and the result says so."""
    fake_dicom.write_series(tmp_path / "in", fake_dicom.body(3, noise_hu=9, size=32), **STUDY)
    run, choices = dicom_series.SeriesPass.run, DenoisingOptions(created=CREATED)

    def overtaken(self, *args, **options):
        run(self, *args, **options)
        monkeypatch.setattr(dicom_series.SeriesPass, "run", run)
        denoise_folder(other, tmp_path / "in", tmp_path / "out", choices)

    monkeypatch.setattr(dicom_series.SeriesPass, "run", overtaken)
    if other is IDENTITY:
        summary = denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", choices)
        assert [one["state"] for one in summary["series"].values()] == ["there already"]
    else:
        with pytest.raises(InputError, match="nothing is overwritten"):
            denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", choices)
    (record,) = (tmp_path / "out").glob("*-*.json")
    assert json.loads(record.read_text())["model"] == other.digest
    assert not list((tmp_path / "out").glob(".*partial"))


def test_volumes_beside_dicom_do_not_hide_it(tmp_path):
    import nibabel

    fake_dicom.write_series(tmp_path / "in" / "ct", fake_dicom.body(2, noise_hu=9), **STUDY)
    mask = nibabel.Nifti1Image(np.zeros((4, 4, 2), np.int16), np.eye(4))
    nibabel.save(mask, tmp_path / "in" / "mask.nii.gz")
    summary = denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", DenoisingOptions())
    assert len(out_series(tmp_path / "out")) == 2
    assert summary["left_out"]["not DICOM"] == 1


@pytest.mark.parametrize(
    ("number", "written"),
    [(None, 1000), (7, 1007), (2**31 - 1, 2000)],
)
def test_series_numbers(tmp_path, number, written):
    changes = STUDY if number is None else STUDY | {"SeriesNumber": number}
    fake_dicom.write_series(tmp_path / "in", fake_dicom.body(1, noise_hu=9), **changes)
    denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", DenoisingOptions())
    assert out_series(tmp_path / "out")[0].SeriesNumber == written


def test_names_of_models_are_plain_text(tmp_path):
    fake_dicom.write_series(
        tmp_path / "in", fake_dicom.body(1, noise_hu=9), SeriesDescription=["a", "b"], **STUDY
    )
    model = dataclasses.replace(IDENTITY, name="größe\\模型")
    denoise_folder(model, tmp_path / "in", tmp_path / "out", DenoisingOptions())
    assert out_series(tmp_path / "out")[0].SeriesDescription == "a/b | denoised, gr--e---"


def test_the_same_slice_from_other_neighbours_is_another_image(tmp_path):
    volume = fake_dicom.body(5, noise_hu=9, size=32)
    folder = fake_dicom.write_series(tmp_path / "in", volume, **STUDY)
    denoise_folder(network(3), folder, tmp_path / "whole", DenoisingOptions())
    for name in ("CT.0001.IMA", "CT.0002.IMA"):
        (folder / name).unlink()
    denoise_folder(network(3), folder, tmp_path / "part", DenoisingOptions())
    whole, part = out_series(tmp_path / "whole"), out_series(tmp_path / "part")
    same = [one.SOPInstanceUID == other.SOPInstanceUID for one, other in zip(whole, part)]  # noqa: B905
    assert same == [True, True, False]


def test_nothing_is_written_into_the_input(tmp_path):
    fake_dicom.write_series(tmp_path / "in", fake_dicom.body(2, noise_hu=9), **STUDY)
    before = sorted(p.name for p in (tmp_path / "in").iterdir())
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for output in (tmp_path / "in" / "out", tmp_path / "in", tmp_path / "link"):
        with pytest.raises(OutputError):
            denoise_folder(IDENTITY, tmp_path / "in", output, DenoisingOptions())
    assert sorted(p.name for p in (tmp_path / "in").iterdir()) == before


def test_memory_is_a_few_slices(tmp_path):
    """The number of slices held at once does not depend on the length of the series."""
    (tmp_path / "in").mkdir()
    fake_dicom.write_series(tmp_path / "in", fake_dicom.body(1, noise_hu=9, size=32), **STUDY)
    image = slice_file.read_slice(next((tmp_path / "in").iterdir()))
    read = []
    stream = streaming.denoise_stream(
        network(3),
        lambda z: read.append(z) or image,
        100,
        batch=2,
        watch=streaming.Stopwatch(),
    )
    for given, _ in enumerate(stream, 1):
        assert len(read) - given <= 2 * 2 + 2
    assert sorted(read) == list(range(100))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_volumes(tmp_path, suffix):
    import nibabel

    stored = np.random.default_rng(0).integers(-1000, 1000, (32, 33, 5)).astype(np.int16)
    affine = np.diag([-0.7, 0.7, 2.0, 1.0])  # first axis to the patient's right
    (tmp_path / "in" / "sub").mkdir(parents=True)
    path = tmp_path / "in" / "sub" / f"scan{suffix}"
    nibabel.save(nibabel.Nifti1Image(stored, affine), path)
    for name, model in {"same": IDENTITY, "other": network(3)}.items():
        summary = denoise_folder(
            model, tmp_path / "in", tmp_path / name, DenoisingOptions(compare=True)
        )
        assert summary["series"][f"sub/{path.name}"]["state"] == "denoised"
    name = f"sub/{path.name}"
    same, other = (nibabel.load(tmp_path / folder / name) for folder in ("same", "other"))
    np.testing.assert_array_equal(same.get_fdata(), stored)
    np.testing.assert_array_equal(other.affine, affine.astype(np.float32))
    assert other.get_data_dtype() == np.int16
    # z, y, x as the network sees them: patient's left and back are positive.
    seen = np.transpose(stored, (2, 1, 0))[:, ::-1, :]
    want = np.rint(denoise_volume(network(3), np.ascontiguousarray(seen)))
    got = np.transpose(other.get_fdata(), (2, 1, 0))[:, ::-1, :]
    np.testing.assert_array_equal(got, want)
    again = denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "same", DenoisingOptions())
    assert again["series"][name]["state"] == "there already"
    with pytest.raises(InputError, match="nothing is overwritten"):
        denoise_folder(network(1), tmp_path / "in", tmp_path / "same", DenoisingOptions())
    with pytest.raises(OutputError, match="lies in the input"):
        denoise_folder(IDENTITY, path, path.parent / "out", DenoisingOptions())
    alone = denoise_folder(IDENTITY, path, tmp_path / "alone", DenoisingOptions())
    assert alone["series"][path.name]["state"] == "denoised"


needs_validator = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not there"
)


def errors(path):
    """Return the errors of dciodvfy about a file."""
    run = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    return {line for line in run.stderr.splitlines() if line.startswith("Error")}


@needs_validator
@pytest.mark.real_data
@pytest.mark.parametrize("place", ["abdomen-20", "mayo-2016/L143/full_3mm"])
def test_validators_find_nothing_new_in_real_series(tmp_path, real_data, place):
    import SimpleITK as sitk

    source = real_data / place
    denoise_folder(network(1), source, tmp_path / "out", DenoisingOptions())
    (folder,) = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    headers = find_series(source).series[0].headers
    for header, path in zip(headers, sorted(folder.glob("*.dcm")), strict=True):
        assert errors(path) <= errors(header.path)
    entities = subprocess.run(
        ["dcentvfy", *folder.glob("*.dcm")], capture_output=True, text=True, check=False
    )
    assert entities.stdout + entities.stderr == ""
    images = []
    for names in ([str(h.path) for h in headers], sorted(map(str, folder.glob("*.dcm")))):
        images.append(sitk.ReadImage(names))
    before, after = images
    assert after.GetSize() == before.GetSize()
    assert after.GetOrigin() == before.GetOrigin()
    assert after.GetSpacing() == before.GetSpacing()
    assert after.GetDirection() == before.GetDirection()


def test_the_command(tmp_path):
    fake_dicom.write_series(tmp_path / "in", fake_dicom.body(3, noise_hu=9), **STUDY)
    flags = ("--run", "identity", "--input", tmp_path / "in", "--created", "2026-01-31T12:00:00")
    done = commands.call("denoise.py", *flags, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "3 slices, noise" in done.stdout
    again = commands.call("denoise.py", *flags, "--output", tmp_path / "out")
    assert again.returncode == 0
    assert "denoised before" in again.stdout
    bad = commands.call("denoise.py", *flags[:4], "--output", tmp_path / "x", "--created", "noon")
    commands.refused(bad, "--created is noon")
