"""Single slices as they are read: HU, geometry, and everything that must be refused."""

import fake_dicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from cpca_jax.data.dicom import slice_file
from cpca_jax.errors import DicomError

IMAGE = fake_dicom.body(1, noise_hu=30.0, size=16)[0]


def test_pixels_are_hu_in_int16(tmp_path):
    image = slice_file.read_slice(fake_dicom.write_slice(tmp_path / "a", IMAGE))
    assert image.pixels_hu.dtype == np.int16
    np.testing.assert_array_equal(image.pixels_hu, np.maximum(IMAGE, -1024))


def test_slope_and_intercept_are_applied_and_rounded(tmp_path):
    stored = np.array([[0, 1], [2, 3]], "<u2")
    path = fake_dicom.write_slice(
        tmp_path / "a",
        IMAGE[:2, :2],
        PixelData=stored.tobytes(),
        RescaleSlope=0.75,
        RescaleIntercept=-10.25,
    )
    expected = [[-10, -10], [-9, -8]]  # -10.25, -9.5, -8.75, -8: halves go to even
    np.testing.assert_array_equal(slice_file.read_slice(path).pixels_hu, expected)


def test_signed_pixels(tmp_path):
    stored = np.array([[-1000, 40], [-2000, 3000]], "<i2")
    path = fake_dicom.write_slice(
        tmp_path / "a",
        IMAGE[:2, :2],
        PixelData=stored.tobytes(),
        PixelRepresentation=1,
        BitsStored=16,
        HighBit=15,
        RescaleIntercept=0,
    )
    expected = [[-1000, 40], [-1024, 3000]]
    np.testing.assert_array_equal(slice_file.read_slice(path).pixels_hu, expected)


def test_high_bits_outside_bits_stored_are_ignored(tmp_path):
    stored = np.array([[1024, 1064 | 0x8000]], "<u2")
    path = fake_dicom.write_slice(tmp_path / "a", IMAGE[:1, :2], PixelData=stored.tobytes())
    np.testing.assert_array_equal(slice_file.read_slice(path).pixels_hu, [[0, 40]])


@pytest.mark.parametrize(
    "changes",
    [
        {"PixelPaddingValue": 3000},
        {"PixelPaddingValue": 2990, "PixelPaddingRangeLimit": 3010},
    ],
)
def test_padding_becomes_air(tmp_path, changes):
    stored = np.array([[1024, 3000]], "<u2")
    path = fake_dicom.write_slice(
        tmp_path / "a", IMAGE[:1, :2], PixelData=stored.tobytes(), **changes
    )
    np.testing.assert_array_equal(slice_file.read_slice(path).pixels_hu, [[0, -1024]])


def test_padding_value_with_the_other_sign(tmp_path):
    """-2000 declared, 63536 stored: the same 16 bits. Unmasked they would be 32767 HU."""
    stored = np.array([[1024, 63536]], "<u2")
    dataset = fake_dicom.ct_slice(
        IMAGE[:1, :2], PixelData=stored.tobytes(), BitsStored=16, HighBit=15
    )
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    path = fake_dicom.save(dataset, tmp_path / "a")
    np.testing.assert_array_equal(slice_file.read_slice(path).pixels_hu, [[0, -1024]])


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
        JPEGLSLossless,
    ],
)
def test_transfer_syntaxes(tmp_path, syntax):
    image = fake_dicom.body(1, noise_hu=30.0, size=64)[0]
    path = fake_dicom.save(fake_dicom.ct_slice(image), tmp_path / "a", syntax=syntax)
    np.testing.assert_array_equal(slice_file.read_slice(path).pixels_hu, np.maximum(image, -1024))


@pytest.mark.parametrize("implicit", [True, False])
def test_file_without_preamble_and_meta_information(tmp_path, implicit):
    path = tmp_path / "a"
    fake_dicom.ct_slice(IMAGE).save_as(path, implicit_vr=implicit, little_endian=True)
    assert slice_file.is_dicom(path)
    np.testing.assert_array_equal(slice_file.read_slice(path).pixels_hu, np.maximum(IMAGE, -1024))


def test_missing_codec_is_named(tmp_path):
    dataset = fake_dicom.ct_slice(IMAGE, PixelData=b"\xfe\xff\x00\xe0\x00\x00\x00\x00")
    dataset["PixelData"].is_undefined_length = True
    path = fake_dicom.save(dataset, tmp_path / "a", syntax=JPEGLosslessSV1)
    with pytest.raises(DicomError, match=r"a: TransferSyntaxUID JPEG Lossless.* needs python-gdcm"):
        slice_file.read_slice(path)


REFUSED = {
    "Modality is MR, must be CT": {"Modality": "MR"},
    "Modality is missing, must be CT": {"Modality": None},
    "NumberOfFrames is 2, must be 1: convert to single": {"NumberOfFrames": 2},
    "NumberOfFrames is missing in an enhanced CT image": {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"
    },
    "SamplesPerPixel is 3, must be 1": {"SamplesPerPixel": 3},
    "PhotometricInterpretation is MONOCHROME1, must be MONO": {
        "PhotometricInterpretation": "MONOCHROME1"
    },
    "PhotometricInterpretation is RGB": {"PhotometricInterpretation": "RGB"},
    "BitsAllocated is 8, must be 16": {"BitsAllocated": 8},
    "HighBit is 15, must be 11": {"HighBit": 15},
    "RescaleSlope is missing, must be 1 number": {"RescaleSlope": None},
    "RescaleIntercept is missing": {"RescaleIntercept": None},
    "RescaleSlope is 0, must be a positive": {"RescaleSlope": 0},
    "RescaleSlope is -1, must be a positive": {"RescaleSlope": -1},
    "RescaleType is US, must be HU": {"RescaleType": "US"},
    "ImagePositionPatient is missing, must be 3 numbers": {"ImagePositionPatient": None},
    "ImageOrientationPatient is missing": {"ImageOrientationPatient": None},
    "ImageOrientationPatient is 1, 0, 0, 1, 0, 0, must be 2": {
        "ImageOrientationPatient": [1, 0, 0, 1, 0, 0]
    },
    "PixelSpacing is missing": {"PixelSpacing": None},
    "PixelSpacing is 0, 0.7, must be 2 positive": {"PixelSpacing": [0, 0.7]},
    "SliceThickness is -3, must be 0 or more": {"SliceThickness": -3},
}


@pytest.mark.parametrize("message", REFUSED)
def test_header_is_refused(tmp_path, message):
    path = fake_dicom.write_slice(tmp_path / "a.dcm", IMAGE, **REFUSED[message])
    with pytest.raises(DicomError) as caught:
        slice_file.read_header(path)
    assert str(caught.value).startswith(f"a.dcm: {message}")
    with pytest.raises(DicomError):
        slice_file.read_slice(path)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "soft", "1\\1"])
@pytest.mark.parametrize("attribute", ["RescaleSlope", "RescaleIntercept"])
def test_rescale_that_is_no_number(tmp_path, attribute, text):
    """The values are written as bytes, because pydicom does not accept them in a data set."""
    path = fake_dicom.write_slice(tmp_path / "a.dcm", IMAGE, **{attribute: "7.777777"})
    data = path.read_bytes()
    assert data.count(b"7.777777") == 1
    path.write_bytes(data.replace(b"7.777777", text.encode().ljust(8)))
    with pytest.raises(DicomError, match=f"a.dcm: {attribute} is "):
        slice_file.read_slice(path)


def test_too_few_rows_for_the_pixels_are_refused(tmp_path):
    path = fake_dicom.write_slice(tmp_path / "a", IMAGE, Rows=8)
    with pytest.raises(DicomError, match=r"a: PixelData has 512 bytes, must have 256"):
        slice_file.read_slice(path)


def test_compressed_pixels_of_another_shape_are_refused(tmp_path):
    image = fake_dicom.body(1, noise_hu=30.0, size=64)[0]
    path = fake_dicom.save(fake_dicom.ct_slice(image), tmp_path / "a", syntax=JPEG2000Lossless)
    dataset = pydicom.dcmread(path)
    dataset.Rows = 32
    dataset.save_as(path)
    with pytest.raises(DicomError, match="a: PixelData"):
        slice_file.read_slice(path)


def test_every_truncation_is_refused(tmp_path):
    data = fake_dicom.write_slice(tmp_path / "whole", IMAGE).read_bytes()
    path = tmp_path / "cut"
    for length in (0, 1, 100, 131, 140, 200, *np.linspace(300, len(data) - 1, 40).astype(int)):
        path.write_bytes(data[:length])
        with pytest.raises(DicomError, match=r"^cut: "):
            slice_file.read_slice(path)


def test_damaged_bytes_raise_nothing_but_dicom_error(tmp_path):
    """A file with random changes in its header is read or refused; no other exception occurs."""
    data = fake_dicom.write_slice(tmp_path / "whole", IMAGE).read_bytes()
    path = tmp_path / "mutant"
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        mutant = np.frombuffer(data, np.uint8).copy()
        places = random.integers(132, len(data) - IMAGE.size * 2, random.integers(1, 6))
        mutant[places] = random.integers(0, 256, len(places))
        path.write_bytes(mutant.tobytes())
        try:
            slice_file.read_slice(path)
        except DicomError as error:
            refused += 1
            assert "\n" not in str(error)
            assert "SECRET" not in str(error)
    assert refused > 50


def test_what_is_not_dicom(tmp_path):
    for name, content in {"empty": b"", "text": b"x" * 500, "zip": b"PK\3\4" + b"\0" * 500}.items():
        (tmp_path / name).write_bytes(content)
        assert not slice_file.is_dicom(tmp_path / name)
        with pytest.raises(DicomError, match=f"{name}: is not a DICOM file"):
            slice_file.read_header(tmp_path / name)
    with pytest.raises(DicomError, match="gone: cannot be read: No such file"):
        slice_file.read_slice(tmp_path / "gone")


def test_position_is_along_the_normal(tmp_path):
    """The normal of a sagittal slice is the patient's x axis, regardless of y and z."""
    path = fake_dicom.write_slice(
        tmp_path / "a",
        IMAGE,
        ImageOrientationPatient=[0, 1, 0, 0, 0, 1],
        ImagePositionPatient=[12.5, 300, -400],
    )
    assert slice_file.read_header(path).position_mm == pytest.approx(12.5)


def test_spacing_is_rows_then_columns(tmp_path):
    path = fake_dicom.write_slice(tmp_path / "a", IMAGE, PixelSpacing=[0.5, 0.7])
    assert slice_file.read_header(path).spacing_mm == (0.5, 0.7)


@pytest.mark.parametrize(
    ("folder", "patient_id", "key"),
    [
        ("L096/full_3mm", "Anonymous", "L096"),
        ("x/C121/date/1.0-Low Dose Images-9", "C121", "C121"),
        ("x/y", "N005", "N005"),
        ("L096/full_3mm", "L143", "L143"),  # the file itself comes first
    ],
)
def test_public_identifiers_are_kept(tmp_path, folder, patient_id, key):
    path = fake_dicom.write_slice(tmp_path / folder / "a", IMAGE, PatientID=patient_id)
    assert slice_file.read_header(path).patient_key == key


def test_other_identifiers_become_digests(tmp_path):
    keys = [
        slice_file.read_header(
            fake_dicom.write_slice(tmp_path / folder / "a", IMAGE, PatientID=patient_id)
        ).patient_key
        for folder, patient_id in (
            ("p1/full_3mm", "4711"),
            ("p2/full_3mm", "4711"),
            ("p1/full_3mm", ""),
            ("p1/quarter_3mm", "Anonymous"),
            ("p2/full_3mm", ""),
        )
    ]
    assert all(key.startswith("case-") and len(key) == 13 for key in keys)
    assert keys[0] == keys[1]  # the identifier comes first
    assert keys[2] == keys[3]  # without one, the folder above both dose levels
    assert len(set(keys)) == 3


def test_folders_above_the_collection_name_nobody(tmp_path):
    root = tmp_path / "L096" / "collection"
    path = fake_dicom.write_slice(root / "a", IMAGE, PatientID="")
    assert slice_file.read_header(path, root=root).patient_key.startswith("case-")
    assert slice_file.read_header(path).patient_key == "L096"


def test_no_patient_attribute_is_held(tmp_path):
    image = slice_file.read_slice(fake_dicom.write_slice(tmp_path / "a", IMAGE))
    assert "SECRET" not in repr(image)
    assert "Marker" not in repr(image)
    assert "1.2.3.4" not in repr(image)


def test_kernel_is_one_harmless_line(tmp_path):
    path = fake_dicom.write_slice(tmp_path / "a", IMAGE, ConvolutionKernel=["Br38f", "3"])
    assert slice_file.read_header(path).kernel == "Br38f/3"
    path = fake_dicom.write_slice(tmp_path / "b", IMAGE, ConvolutionKernel="B30\n{f}")
    assert slice_file.read_header(path).kernel == "B30f"
    path = fake_dicom.write_slice(tmp_path / "c", IMAGE, ConvolutionKernel=None)
    assert slice_file.read_header(path).kernel == "unknown"


@pytest.mark.real_data
def test_real_jpeg_2000_slice(real_data):
    path = sorted((real_data / "abdomen-20").glob("*.dcm"))[0]
    image = slice_file.read_slice(path)
    assert image.pixels_hu.shape == (512, 512)
    assert (image.kernel, image.thickness_mm) == ("Br38f/3", 3.0)
    assert image.pixels_hu.min() == -1024
    assert 30 < np.median(image.pixels_hu[image.pixels_hu > -100]) < 150
