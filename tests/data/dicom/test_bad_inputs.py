"""The 44 bad inputs that a tool for hospital folders must survive: each refused in one sentence,
or accepted in the way stated here. The number of each test is its number in the original list."""

import json
import os
import pickle
import re
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import fake_dicom
import numpy as np
import pydicom
import pytest
import tiny
from conftest import CHECKOUT
from denoised import IDENTITY, STUDY, network, out_series, random_stored, write
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless, RLELossless

from cpca_jax.data import messages
from cpca_jax.data.collections.sources import Inputs
from cpca_jax.data.dicom import search, slice_file
from cpca_jax.data.dicom.header import Allowances
from cpca_jax.data.store.manifest import signed
from cpca_jax.data.store.reader import open_store
from cpca_jax.denoising.denoiser import Denoiser
from cpca_jax.denoising.folder import DenoisingOptions, denoise_folder
from cpca_jax.errors import (
    ConfigError,
    DicomError,
    InputError,
    ScanError,
    StoreError,
    WeightsError,
)
from cpca_jax.preparation import prepare
from cpca_jax.runs import config

VOLUME = fake_dicom.body(5, noise_hu=12.0, size=32)


def make(folder, **changes):
    """Write a good series, apart from `changes`."""
    return fake_dicom.write_series(folder, VOLUME, **(STUDY | changes))


def denoise(tmp_path, model: Denoiser = IDENTITY, **choices):
    """Denoise `tmp_path`/in to `tmp_path`/out and return the summary."""
    return denoise_folder(model, tmp_path / "in", tmp_path / "out", DenoisingOptions(**choices))


def refused(tmp_path, sentence, model: Denoiser = IDENTITY, **choices):
    """Require a refusal with this sentence that leaves nothing but the summary."""
    with pytest.raises(InputError, match=sentence) as caught:
        denoise(tmp_path, model, **choices)
    assert "\n" not in str(caught.value)
    assert not re.search(r"SECRET|Marker|1\.2\.3\.4|/tmp", str(caught.value))
    assert not list((tmp_path / "out").glob("*/*")) if (tmp_path / "out").exists() else True


def said(summary):
    """Return the warnings of the only series."""
    (record,) = summary["series"].values()
    return " ".join(record["warnings"])


def test_b01_truncated(tmp_path):
    data = make(tmp_path / "whole").joinpath("CT.0001.IMA").read_bytes()
    path = tmp_path / "in" / "cut"
    path.parent.mkdir()
    for length in np.linspace(140, len(data) - 1, 10).astype(int):
        path.write_bytes(data[:length])
        refused(tmp_path, "cut: ")
    path.write_bytes(data[:-100])
    refused(tmp_path, "PixelData has 1948 bytes, must have 2048")


def test_b02_not_dicom(tmp_path, capsys):
    make(tmp_path / "in")
    for name, content in {"empty": b"", "a.txt": b"text" * 99, "z.dcm": b"PK\3\4" * 99}.items():
        (tmp_path / "in" / name).write_bytes(content)
    (tmp_path / "in" / ".DS_Store").write_bytes(b"\0" * 300)
    denoise(tmp_path)
    assert "left out: 3 not DICOM" in capsys.readouterr().out
    for path in (tmp_path / "in").glob("CT*"):
        path.unlink()
    with pytest.raises(DicomError, match=r"no usable CT series among 3 files \(3 not DICOM"):
        search.find_series(tmp_path / "in")


def test_b03_no_preamble(tmp_path):
    path = tmp_path / "in" / "a"
    path.parent.mkdir()
    dataset = fake_dicom.ct_slice(VOLUME[0], **STUDY)
    dataset.save_as(path, implicit_vr=True, little_endian=True)
    denoise(tmp_path)
    np.testing.assert_array_equal(
        out_series(tmp_path / "out")[0].pixel_array, np.clip(VOLUME[0] + 1024, 0, 4095)
    )
    path.write_bytes(b"\x08\x00\x05\x00" + b"\xff" * 400)
    with pytest.raises(DicomError):
        search.find_series(tmp_path / "in")


@pytest.mark.parametrize("start", [b"MZ", b"\x7fELF"])
def test_b04_executable_preamble(tmp_path, start):
    make(tmp_path / "in")
    path = tmp_path / "in" / "CT.0001.IMA"
    path.write_bytes(start.ljust(128, b"\1") + path.read_bytes()[128:])
    assert "1 files begin like a program" in said(denoise(tmp_path))
    for written in (tmp_path / "out").glob("*/*.dcm"):
        assert written.read_bytes()[:132] == b"\0" * 128 + b"DICM"


@pytest.mark.parametrize("attribute", ["RescaleSlope", "RescaleIntercept"])
def test_b05_b06_rescale_missing(tmp_path, attribute):
    make(tmp_path / "in", **{attribute: None})
    refused(tmp_path, f"{attribute} is missing, must be 1 number")


@pytest.mark.parametrize("value", ["0", "nan", "inf", "-1"])
def test_b07_rescale_slope_that_cannot_be(tmp_path, value):
    path = fake_dicom.write_slice(tmp_path / "in" / "a", VOLUME[0], RescaleSlope="7.777777")
    path.write_bytes(path.read_bytes().replace(b"7.777777", value.encode().ljust(8)))
    refused(tmp_path, "a: RescaleSlope is ")


def test_b08_rescale_differs_between_slices(tmp_path):
    stored = random_stored(0, 4095)
    for z, (slope, intercept) in enumerate([(1, -1024), (0.5, -1000), (2, -1024)]):
        write(tmp_path / str(z), stored[z : z + 1], RescaleSlope=slope, RescaleIntercept=intercept)
        path = tmp_path / str(z) / "0"
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient = [0, 0, 2 * z]
        (tmp_path / "in").mkdir(exist_ok=True)
        dataset.save_as(tmp_path / "in" / str(z))
    denoise(tmp_path, IDENTITY)
    written = out_series(tmp_path / "out")
    np.testing.assert_array_equal([one.pixel_array for one in written], stored)
    assert [one.RescaleSlope for one in written] == [1, 0.5, 2]
    volume = search.find_series(tmp_path / "in").series[0].read()
    np.testing.assert_array_equal(volume[1], np.rint(stored[1] * 0.5 - 1000))


def test_b09_rescale_type(tmp_path):
    make(tmp_path / "in", RescaleType="US")
    refused(tmp_path, "RescaleType is US, must be HU")
    summary = denoise(tmp_path, allowances=Allowances(assume_hu=True))
    assert "taken for HU as asked" in said(summary)


def test_b10_sign_in_the_codec_and_in_the_header_differ():
    """The file is pydicom's own: an unsigned JPEG 2000 stream under PixelRepresentation 1."""
    path = Path(str(get_testdata_file("J2K_pixelrep_mismatch.dcm", download=False)))
    image = slice_file.read_slice(path)
    assert image.signed
    assert (image.pixels_hu.min(), image.pixels_hu[:3, :3].max()) == (-1024, -1024)
    assert 0 < np.median(image.pixels_hu[200:300, 200:300]) < 2000


def test_b11_padding_is_masked_and_put_back(tmp_path):
    stored = np.full((3, 32, 32), 1000)
    stored += np.random.default_rng(0).integers(0, 40, stored.shape)
    stored[:, :8] = -2000
    signed = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15, "RescaleIntercept": -1024}
    write(tmp_path / "in", stored, PixelPaddingValue=-2000, **signed)
    denoise(tmp_path, network(1))
    for one in out_series(tmp_path / "out"):
        assert (one.pixel_array[:8] == -2000).all()
        assert (one.pixel_array[8:] > -1100).all()
    image = slice_file.read_slice(tmp_path / "in" / "0")
    assert (image.hu[:8] == -1024).all()


def test_b11_padding_written_with_the_other_sign(tmp_path):
    """-2000 as an unsigned number, and a limit, cover the padding and not the body."""
    stored = np.full((1, 32, 32), 1000)
    stored[:, :8] = -2000
    signed = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15, "RescaleIntercept": -1024}
    write(tmp_path / "in", stored, **signed)
    dataset = pydicom.dcmread(tmp_path / "in" / "0")
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
    dataset.add_new("PixelPaddingRangeLimit", "US", 65536 - 1900)
    dataset.save_as(tmp_path / "in" / "0")
    image = slice_file.read_slice(tmp_path / "in" / "0")
    assert image.outside[:8].all()
    assert not image.outside[8:].any()


def test_b11_padding_that_is_tissue(tmp_path):
    stored = random_stored(-100, 100, size=32)
    signed = {"PixelRepresentation": 1, "RescaleIntercept": 0}
    write(tmp_path / "in", stored, PixelPaddingValue=0, **signed)
    assert "it is not believed" in said(denoise(tmp_path))
    assert not slice_file.read_slice(tmp_path / "in" / "0").outside.any()


def test_b12_garbage_in_the_high_bits(tmp_path):
    stored = random_stored(0, 4095)
    write(tmp_path / "in", stored | 0xA000)
    denoise(tmp_path)
    np.testing.assert_array_equal([one.pixel_array for one in out_series(tmp_path / "out")], stored)


def test_b13_inverted_grey_scale(tmp_path):
    make(tmp_path / "in", PhotometricInterpretation="MONOCHROME1")
    refused(tmp_path, "PhotometricInterpretation is MONOCHROME1, must be MONOCHROME2")


def test_b14_screenshot(tmp_path, capsys):
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "BitsAllocated": 8}
    fake_dicom.write_slice(tmp_path / "in" / "shot", VOLUME[0], **colour)
    refused(tmp_path, "shot: SamplesPerPixel is 3, must be 1; not a CT image")
    make(tmp_path / "in")
    summary = denoise(tmp_path)
    assert "left out: shot: " in capsys.readouterr().out
    assert summary["left_out"]["not CT images"] == [
        "shot: SamplesPerPixel is 3, must be 1; not a CT image"
    ]


def test_b15_localizer(tmp_path, capsys):
    make(tmp_path / "in")
    fake_dicom.write_slice(
        tmp_path / "in" / "scout", VOLUME[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    dataset = pydicom.dcmread(tmp_path / "in" / "scout")
    del dataset.RescaleSlope  # scouts may hold other values than HU
    dataset.save_as(tmp_path / "in" / "scout")
    denoise(tmp_path)
    assert "left out: 1 localizers" in capsys.readouterr().out
    assert len(out_series(tmp_path / "out")) == 5


def test_b16_b17_several_series_in_one_folder(tmp_path):
    changes = [{}, {"SeriesInstanceUID": "1.7"}, {"ConvolutionKernel": "D45f"}]
    changes.append({"SliceThickness": 1.0})
    for number, change in enumerate(changes):
        for z in range(2):
            path = tmp_path / "in" / f"{number}-{z}"
            fake_dicom.write_slice(path, VOLUME[z], position_mm=2.0 * z, **(STUDY | change))
    summary = denoise(tmp_path)
    assert [one["slices"] for one in summary["series"].values()] == [2] * 4
    uids = {pydicom.dcmread(path).SeriesInstanceUID for path in (tmp_path / "out").glob("*/*.dcm")}
    assert len(uids) == 4


def test_b18_two_slices_at_one_place(tmp_path):
    make(tmp_path / "in")
    twin = pydicom.dcmread(tmp_path / "in" / "CT.0002.IMA")
    twin.save_as(tmp_path / "in" / "twin")
    assert "1 identical copies of slices left out" in said(denoise(tmp_path))
    fake_dicom.write_slice(tmp_path / "in" / "twin", VOLUME[0], position_mm=6.0, **STUDY)
    with pytest.raises(DicomError, match="different pixels at the same position 6 mm"):
        search.find_series(tmp_path / "in")


@pytest.mark.parametrize(
    "places", [[0, 2, 4, 8, 10], [0, 1.08, 4.0, 11.0, 12.08]], ids=["b19 gap", "b20 uneven"]
)
def test_b19_b20_slices_missing_or_uneven(tmp_path, places):
    fake_dicom.write_series(tmp_path / "in", VOLUME, positions_mm=places, **STUDY)
    refused(tmp_path, r"steps between slices are .* to .* mm .*must be equal", network(3))
    assert "each slice is denoised by itself" in said(denoise(tmp_path, network(1)))


def test_b19_slices_of_one_series_in_two_folders(tmp_path):
    for z in range(4):
        path = tmp_path / "in" / str(z % 2) / str(z)
        fake_dicom.write_slice(path, VOLUME[z], position_mm=2.0 * z, **STUDY)
    refused(tmp_path, "2 slices here and 2 in another folder are of one series", network(3))
    for z in range(4):  # whole copies do no harm
        path = tmp_path / "in" / str(1 - z % 2) / str(z)
        fake_dicom.write_slice(path, VOLUME[z], position_mm=2.0 * z, **STUDY)
    assert [one["slices"] for one in denoise(tmp_path)["series"].values()] == [4, 4]


def test_b17_rounding_does_not_tear_a_series_apart(tmp_path):
    for z in range(5):
        wobble = 1e-7 * (-1) ** z
        changes = {"SliceThickness": 2.0 + 0.002 * (z % 2)}
        changes["ImageOrientationPatient"] = [1, 0.00005 + wobble, 0, -0.00005 - wobble, 1, 0]
        path = tmp_path / "in" / str(z)
        fake_dicom.write_slice(path, VOLUME[z], position_mm=2.0 * z, **(STUDY | changes))
    (one,) = search.find_series(tmp_path / "in").series
    assert len(one.headers) == 5


def test_b20_slices_beside_each_other(tmp_path):
    for z in range(5):
        place = [-100.0 + 80 * (z in {2, 3}), -90.0, 2.0 * z]
        fake_dicom.write_slice(
            tmp_path / "in" / str(z), VOLUME[z], **(STUDY | {"ImagePositionPatient": place})
        )
    refused(tmp_path, "lies 80.0 mm beside the line of the others", network(3))


def test_b19_every_second_slice_missing(tmp_path):
    fake_dicom.write_series(tmp_path / "in", VOLUME, positions_mm=[0, 6, 12, 18, 24], **STUDY)
    assert "3 mm lie 6 mm apart; is every second one missing?" in said(
        denoise(tmp_path, network(3))
    )


def test_b21_gantry_tilt(tmp_path):
    for z in range(5):
        place = [-100.0, -90.0 + 2 * z * np.tan(np.radians(18.5)), 2.0 * z]
        fake_dicom.write_slice(
            tmp_path / "in" / str(z), VOLUME[z], **(STUDY | {"ImagePositionPatient": place})
        )
    assert "gantry tilted by 18.5 degrees" in said(denoise(tmp_path, network(3)))
    for z, one in enumerate(out_series(tmp_path / "out")):
        source = pydicom.dcmread(tmp_path / "in" / str(z))
        assert one.ImagePositionPatient == source.ImagePositionPatient


@pytest.mark.parametrize("count", [1, 2])
def test_b22_fewer_slices_than_the_network_takes(tmp_path, count):
    fake_dicom.write_series(tmp_path / "in", VOLUME[:count], **STUDY)
    summary = denoise(tmp_path, network(5))
    assert f"{count} slices where the network takes 5; the outermost are repeated" in said(summary)


def test_b23_b24_names_and_numbers_do_not_matter(tmp_path):
    names = ["b b", "größe.IMA", "9.dcm", "1", "noext"]
    for z, name in enumerate(names):
        number = {0: None, 1: 3, 2: 3, 3: 1, 4: 0}[z]
        changes = STUDY if number is None else STUDY | {"InstanceNumber": number}
        path = tmp_path / "in" / name
        fake_dicom.write_slice(path, VOLUME[z], position_mm=2.0 * z, **changes)
    denoise(tmp_path)
    want = np.clip(VOLUME + 1024, 0, 4095)
    np.testing.assert_array_equal([one.pixel_array for one in out_series(tmp_path / "out")], want)


@pytest.mark.parametrize("attribute", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_b25_geometry_missing(tmp_path, attribute):
    for z in range(3):
        changes = STUDY | {attribute: None, "InstanceNumber": 9 - z}
        if attribute != "ImagePositionPatient":
            changes["ImagePositionPatient"] = [0, 0, 2.0 * z]
        dataset = fake_dicom.ct_slice(VOLUME[z], **changes)
        fake_dicom.save(dataset, tmp_path / "in" / str(z))
    refused(tmp_path, f"{attribute} is missing")
    denoise(tmp_path, allowances=Allowances(order_by_instance=True))
    want = np.clip(VOLUME[[2, 1, 0]] + 1024, 0, 4095)
    np.testing.assert_array_equal([one.pixel_array for one in out_series(tmp_path / "out")], want)


def test_b26_sizes(tmp_path):
    for number, shape in enumerate([(24, 24), (51, 60), (33, 24)]):
        for z in range(2):
            image = np.random.default_rng(z).normal(0, 20, shape)
            path = tmp_path / "in" / f"{number}{z}"
            fake_dicom.write_slice(path, image, position_mm=2.0 * z, **STUDY)
    denoise(tmp_path, network(1))
    shapes = {pydicom.dcmread(path).pixel_array.shape for path in tmp_path.glob("out/*/*.dcm")}
    assert shapes == {(24, 24), (51, 60), (33, 24)}
    fake_dicom.write_slice(tmp_path / "tiny" / "a", np.zeros((8, 8)), **STUDY)
    with pytest.raises(InputError, match=r"slices of \(8, 8\); net needs 9 or more"):
        denoise_folder(network(1), tmp_path / "tiny", tmp_path / "out2", DenoisingOptions())


def test_b27_rows_smaller_than_the_pixels(tmp_path):
    make(tmp_path / "in", Rows=16)
    refused(tmp_path, "PixelData has 2048 bytes, must have 1024")


def test_b28_enhanced(tmp_path):
    make(tmp_path / "in", SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1", NumberOfFrames=2)
    refused(tmp_path, "NumberOfFrames is 2, must be 1: convert to single frames")


# test_denoise has B29, compressed and big endian transfer syntaxes; this one cannot be decoded.
def test_b29_codec_that_is_not_there(tmp_path):
    dataset = fake_dicom.ct_slice(VOLUME[0], PixelData=b"\xfe\xff\x00\xe0\x00\x00\x00\x00", **STUDY)
    dataset["PixelData"].is_undefined_length = True
    syntax = pydicom.uid.JPEGLosslessSV1
    fake_dicom.save(dataset, tmp_path / "in" / "a", syntax=syntax)
    refused(tmp_path, "TransferSyntaxUID JPEG Lossless.* needs python-gdcm or pylibjpeg-libjpeg")


def test_b29_high_throughput_jpeg_2000(tmp_path):
    golden = CHECKOUT / "tests" / "golden"
    sixteen = {"BitsStored": 16, "HighBit": 15}
    dataset = fake_dicom.ct_slice(np.zeros((32, 32)), **STUDY, **sixteen)
    stream = (golden / "htj2k_32x32_uint16.j2c").read_bytes()
    dataset.PixelData = pydicom.encaps.encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    fake_dicom.save(dataset, tmp_path / "in" / "a", syntax=pydicom.uid.HTJ2KLossless)
    denoise(tmp_path)
    want = np.load(golden / "htj2k_32x32_uint16.npy", allow_pickle=False)
    np.testing.assert_array_equal(out_series(tmp_path / "out")[0].pixel_array, want)


def test_b30_lossy_source(tmp_path):
    make(tmp_path / "in", LossyImageCompression="01")
    assert "5 slices were once compressed with loss" in said(denoise(tmp_path))
    assert {one.LossyImageCompression for one in out_series(tmp_path / "out")} == {"01"}


def test_b31_blank_uids(tmp_path):
    make(tmp_path / "in", SOPInstanceUID="", SeriesInstanceUID="", StudyInstanceUID="")
    refused(tmp_path, "SOPInstanceUID is missing; --repair_uids makes one")
    denoise(tmp_path, repair_uids=True)
    written = out_series(tmp_path / "out")
    assert len({one.SOPInstanceUID for one in written}) == 5
    assert all(one.SOPInstanceUID.startswith("2.25.") for one in written)
    assert len({(one.SeriesInstanceUID, one.StudyInstanceUID) for one in written}) == 1
    twins = make(tmp_path / "twins", SOPInstanceUID="1.2.3.9")
    with pytest.raises(InputError, match="two slices have the same SOPInstanceUID"):
        denoise_folder(IDENTITY, twins, tmp_path / "out2", DenoisingOptions())


def test_b31_how_the_source_was_made_is_not_said_of_what_is_written(tmp_path):
    made = {name: [pydicom.Dataset()] for name in ("SourceImageSequence", "DerivationCodeSequence")}
    make(tmp_path / "in", SOPInstanceUID="", **made)
    denoise(tmp_path, repair_uids=True)
    for one in out_series(tmp_path / "out"):
        assert not made.keys() & set(one.dir())


def test_b32_another_modality(tmp_path):
    make(tmp_path / "in", Modality="MR")
    refused(tmp_path, "Modality is MR, must be CT; not a CT image")
    make(tmp_path / "in")
    fake_dicom.write_slice(tmp_path / "in" / "lost", VOLUME[0], Modality=None, **STUDY)
    with pytest.raises(InputError, match=r"1 refused, see summary.json; lost: Modality is missing"):
        denoise(tmp_path)


def test_b33_nested_sequence(tmp_path):
    def nested(depth):
        """Return a private sequence nested `depth` levels deep, all of undefined length."""
        head = struct.pack("<HH2sHI", 0x0009, 0x1001, b"SQ", 0, 0xFFFFFFFF)
        item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        ends = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
        return (head + item) * depth + ends * depth

    path = fake_dicom.write_slice(tmp_path / "in" / "a", VOLUME[0], **STUDY)
    data = path.read_bytes()
    place = data.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    for depth, accepted in ((3, True), (5000, False)):
        path.write_bytes(data[:place] + nested(depth) + data[place:])
        output = tmp_path / f"out{depth}"
        try:
            denoise_folder(IDENTITY, tmp_path / "in", output, DenoisingOptions())
        except DicomError as error:
            assert not accepted
            assert "a: " in str(error)
        except InputError as error:
            assert not accepted
            assert "a: the file is damaged" in str(error)
        else:
            assert accepted


@pytest.mark.parametrize("lie", ["element of 4 GB", "65535 x 65535", "65535 x 65535 RLE"])
def test_b34_lengths_that_lie(tmp_path, lie):
    path = tmp_path / "in" / "a"
    dataset = fake_dicom.ct_slice(VOLUME[0], **STUDY)
    if lie.endswith("RLE"):
        dataset = pydicom.dcmread(fake_dicom.save(dataset, path, syntax=RLELossless))
    if lie.startswith("65535"):
        dataset.Rows = dataset.Columns = 65535
        dataset.save_as(path) if lie.endswith("RLE") else fake_dicom.save(dataset, path)
    else:
        data = fake_dicom.save(dataset, path).read_bytes()
        place = data.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW")) + 8
        path.write_bytes(data[:place] + struct.pack("<I", 0xFFFFFFF0) + data[place + 4 :])
    tracemalloc.start()
    start = time.process_time()
    refused(tmp_path, "a: ")
    spent, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spent < 1
    assert peak < 200e6


def test_b35_extreme_values_and_flat_slices(tmp_path, capsys):
    stored = random_stored(900, 1100, size=32)
    stored[0, 0, :3] = [-32768, 30000, 32767]
    stored[1] = 1024
    stored[2] = 0
    signed = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15, "RescaleIntercept": -1024}
    write(tmp_path / "in", stored, **signed)
    denoise(tmp_path, network(1))
    assert "3 pixels of implausible HU" in capsys.readouterr().out
    written = out_series(tmp_path / "out")
    np.testing.assert_array_equal([one.pixel_array for one in written[1:]], stored[1:])
    assert (np.abs(written[0].pixel_array[0, :3] - stored[0, 0, :3]) <= 600).all()


def test_b36_pairs_that_do_not_match(tmp_path):
    def lines(name, change):
        root = tmp_path / name
        fake_dicom.write_pair(root / "L001")
        change(root / "L001" / "quarter_3mm")
        said = []
        with pytest.raises(ScanError):
            prepare.prepare_scans(Inputs(root), tmp_path / f"{name}-store", say=said.append)
        assert not (tmp_path / f"{name}-store").exists()
        return " ".join(said)

    def moved(folder):
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.ImagePositionPatient[2] += 0.5
            dataset.save_as(path)

    def swapped(folder):
        folder.rename(folder.parent / "x")
        (folder.parent / "full_3mm").rename(folder)
        (folder.parent / "x").rename(folder.parent / "full_3mm")

    assert "have no partner at their position" in lines(
        "count", lambda folder: (folder / "CT.0003.IMA").unlink()
    )
    assert "have no partner at their position" in lines("moved", moved)
    assert "are the dose levels swapped?" in lines("swapped", swapped)


def test_b37_the_same_pixels_in_both_doses(tmp_path):
    fake_dicom.write_pair(tmp_path / "in" / "L001")
    for path in (tmp_path / "in" / "L001" / "full_3mm").iterdir():
        (tmp_path / "in" / "L001" / "quarter_3mm" / path.name).write_bytes(path.read_bytes())
    said = []
    with pytest.raises(ScanError):
        prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out", say=said.append)
    assert any("have the same pixels in both dose levels" in line for line in said)


def test_b38_a_patient_in_two_splits(tmp_path):
    root = tiny.write_store(tmp_path / "store")
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["series"][1]["patient"] = manifest["series"][0]["patient"]
    (root / "manifest.json").write_text(json.dumps(signed(manifest)))
    with pytest.raises(StoreError, match="is in splits train and validation, must be in one"):
        open_store(root)


def test_b39_damaged_store(tmp_path):
    def broken(name, change):
        root = tiny.write_store(tmp_path / name)
        change(root / "phantom-000.full.npy")
        with pytest.raises(StoreError, match="phantom-000") as caught:
            open_store(root, verify=True)
        return str(caught.value)

    def flipped(path):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    def objects(path):
        np.save(path, np.array([{}], object), allow_pickle=True)

    assert "truncated" in broken("cut", lambda path: os.truncate(path, 500))
    assert "SHA-256" in broken("flip", flipped)
    assert "no .npy file of numbers" in broken("objects", objects)
    assert "must be int16" in broken("dtype", lambda p: np.save(p, np.zeros((7, 40, 40))))
    assert "must be int16 (7, y, x)" in broken("shape", lambda p: np.save(p, np.zeros(3, "i2")))


def test_b40_weights_that_must_not_be_used(tmp_path):
    from cpca_jax.weights import feature_network

    class Poison:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "vgg19.pth"
    path.write_bytes(pickle.dumps({"features.0.weight": Poison()}))
    with pytest.raises(WeightsError, match=r"vgg19\.pth"):
        feature_network.load_feature_network("vgg19", tap="relu5_4", weights=str(path))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optim.learning_rat", 1e-4),
        ("data.batch", "many"),
        ("model.slices", 4),
        ("loss.perceptual", -1.0),
        ("loss.adversarial", float("nan")),
    ],
)
def test_b41_configurations(key, value):
    from cpca_jax.configs import base

    chosen = base.get_config()
    chosen.data.store = "x"
    group, field = key.split(".")
    with chosen.unlocked(), chosen[group].ignore_type():
        chosen[group][field] = value
    with pytest.raises(ConfigError, match=field):
        config.parse(chosen)


def test_b42_outputs(tmp_path):
    make(tmp_path / "in")
    (tmp_path / "file").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for place in ("in", "in/out", "in/../in/x", "file", "link"):
        with pytest.raises(InputError):
            denoise_folder(IDENTITY, tmp_path / "in", tmp_path / place, DenoisingOptions())
    assert len(list((tmp_path / "in").iterdir())) == 5
    assert not list((tmp_path / "elsewhere").iterdir())


def test_b42_a_disk_that_takes_nothing(tmp_path, monkeypatch):
    make(tmp_path / "in")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pydicom, "dcmwrite", full)
    with pytest.raises(InputError, match="No space left on device"):
        denoise(tmp_path)
    assert not list((tmp_path / "out").glob("*/*"))
    assert not list((tmp_path / "out").glob(".*"))


def test_b43_dicomdir_is_never_opened(tmp_path, monkeypatch):
    make(tmp_path / "in")
    (tmp_path / "outside").mkdir()
    secret = fake_dicom.write_slice(tmp_path / "outside" / "x", VOLUME[0], **STUDY)
    (tmp_path / "in" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"../outside/x")
    opened = []
    read = slice_file.read_header
    monkeypatch.setattr(
        slice_file, "read_header", lambda path, **k: opened.append(path) or read(path)
    )
    search.find_series(tmp_path / "in")
    assert len(opened) == 5
    assert secret not in opened


def test_b44_a_file_that_vanishes(tmp_path, monkeypatch):
    make(tmp_path / "in")
    read = slice_file.read_header

    def vanishing(path, **options):
        if path.name == "CT.0003.IMA":
            path.unlink()
        return read(path, **options)

    monkeypatch.setattr(slice_file, "read_header", vanishing)
    found = search.find_series(tmp_path / "in")
    (refused,) = found.refused
    assert refused.startswith("CT.0003.IMA: cannot be read: No such file or directory; ")


def test_only_the_first_messages_are_said():
    lines = []
    messages.say_first("refused", list("abcdefg"), lines.append, rest="more, see the page")
    assert lines == [*(f"refused: {name}" for name in "abcde"), "refused: 2 more, see the page"]
    lines.clear()
    messages.say_first("refused", list("abcde"), lines.append)
    assert lines == [f"refused: {name}" for name in "abcde"]


FUZZ = """
import resource, sys, time
from pathlib import Path
import numpy as np
from cpca_jax.data.dicom import slice_file
from cpca_jax.errors import DicomError

random = np.random.default_rng(7)
work = Path(sys.argv[1])
sources = [Path(name).read_bytes() for name in sys.argv[3:]]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
slowest = refused = 0
for number in range(int(sys.argv[2])):
    data = bytearray(sources[number % len(sources)])
    kind = number // len(sources) % 4
    if kind == 0:
        del data[random.integers(0, len(data)):]
    else:
        low, high = (0, len(data)) if kind == 1 else (132, min(2500, len(data)))
        for place in random.integers(low, high, random.integers(1, 12)):
            data[place] = random.integers(0, 256)
        if kind == 3:
            place = int(random.integers(132, min(2500, len(data))))
            data[place:place + 4] = random.bytes(4) * 2
    work.write_bytes(data)
    start = time.process_time()
    try:
        image = slice_file.read_slice(work)
        assert image.pixels_hu.shape == image.shape
    except DicomError as error:
        refused += 1
        assert str(error).startswith(work.name + ": ") and "\\n" not in str(error), error
    slowest = max(slowest, time.process_time() - start)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(f"{refused} {slowest} {grown}")
"""


def _fuzzed(tmp_path):
    """Yield six files: plain, deflated, JPEG 2000, JPEG-LS, RLE and a real one."""
    image = fake_dicom.body(1, noise_hu=20.0, size=48)[0]
    syntaxes = pydicom.uid
    for syntax in (
        syntaxes.ExplicitVRLittleEndian,
        syntaxes.DeflatedExplicitVRLittleEndian,
        JPEG2000Lossless,
        syntaxes.JPEGLSLossless,
        RLELossless,
    ):
        dataset = fake_dicom.ct_slice(image, **STUDY)
        yield fake_dicom.save(dataset, tmp_path / syntax.name, syntax=syntax)
    yield Path(str(get_testdata_file("CT_small.dcm", download=False)))


@pytest.mark.slow
def test_two_thousand_mutated_files(tmp_path):
    """Only the package's own errors occur, each within a second, and all within 500 MB."""
    files = list(map(str, _fuzzed(tmp_path)))
    command = [sys.executable, "-c", FUZZ, str(tmp_path / "mutant"), "2000", *files]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    refused, slowest, grown = map(float, done.stdout.split())
    assert refused > 500
    assert slowest < 1
    assert grown < 500
