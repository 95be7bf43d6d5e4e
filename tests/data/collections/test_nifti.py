"""NIfTI volumes: read from any order of axes to DICOM's (z y x), and written back as they were."""

import gzip
import os

import nibabel
import numpy as np
import pytest

from cpca_jax.data.collections import nifti
from cpca_jax.errors import VolumeError

SHAPE = (5, 7, 9)  # i, j, k


def rotation(degrees):
    """Return a rotation about the patient's x axis, like that of a tilted gantry."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def affine(columns, *, degrees=0.0, origin=(-10.0, -20.0, 30.0)):
    """Return an affine from columns with the directions of i, j and k (RAS, mm)."""
    made = np.eye(4)
    made[:3, :3] = rotation(degrees) @ np.array(columns, float).T
    made[:3, 3] = origin
    return made


def write(path, stored, matrix, *, slope=None, inter=None, edit=None):
    image = nibabel.Nifti1Image(stored, matrix)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    if edit:
        edit(image.header)
    nibabel.save(image, path)
    return path


def body(dtype=np.int16, shape=SHAPE):
    values = np.random.default_rng(0).integers(-1000, 1500, shape)
    return values.astype(dtype)


LPS = [(-0.7, 0, 0), (0, -0.8, 0), (0, 0, 3)]
ORDERS = {
    "LPS": LPS,
    "RAS": [(0.7, 0, 0), (0, 0.8, 0), (0, 0, 3)],
    "LPI": [(-0.7, 0, 0), (0, -0.8, 0), (0, 0, -3)],
    "PSR": [(0, -0.8, 0), (0, 0, 3), (0.7, 0, 0)],
    "IRA": [(0, 0, -3), (0.7, 0, 0), (0, 0.8, 0)],
}


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("degrees", [0.0, 18.5])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_any_order_of_axes_is_read_and_written_back(tmp_path, name, degrees, suffix):
    stored, matrix = body(), affine(ORDERS[name], degrees=degrees)
    source = write(tmp_path / f"a{suffix}", stored, matrix)
    read = nifti.read_nifti(source)
    assert read.volume_hu.dtype == np.int16
    assert read.spacing_mm == pytest.approx((3, 0.8, 0.7))
    # Each voxel lies where the file says, in DICOM's coordinates (left, back, up).
    lps = np.diag([-1, -1, 1, 1]) @ matrix
    i, j, k = np.argwhere(stored == stored.max())[0]
    z, y, x = np.argwhere(read.volume_hu == stored.max())[0]
    cosines = np.array(read.orientation).reshape(2, 3)
    place = read.origins_mm[z] + x * 0.7 * cosines[0] + y * 0.8 * cosines[1]
    np.testing.assert_allclose(place, (lps @ [i, j, k, 1])[:3], atol=1e-4)
    assert (np.diff(read.origins_mm[:, 2]) > 0).all()
    assert cosines[0, 0] > 0.9
    assert cosines[1, 1] > 0.9

    clipped = nifti.write_nifti(tmp_path / f"b{suffix}", read.volume_hu, like=source)
    assert clipped == 0
    again = nibabel.load(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(np.asanyarray(again.dataobj), stored)
    original = nibabel.load(source)
    np.testing.assert_array_equal(again.affine, original.affine)
    assert again.header["sform_code"] == original.header["sform_code"]
    assert again.header["qform_code"] == original.header["qform_code"]
    assert again.header.get_zooms() == original.header.get_zooms()


@pytest.mark.parametrize(
    ("dtype", "slope", "inter", "expected"),
    [
        (np.int16, None, None, np.int16),
        (np.uint16, 1, -1024, np.int16),
        (np.uint8, 10, -1000, np.int16),
        (np.int16, 0.5, -3.0, np.float32),
        (np.int32, 1, 0, np.int16),
        (np.float32, None, None, np.float32),
        (np.float64, 2, 10, np.float32),
    ],
)
def test_scaling_and_data_type_come_back(tmp_path, dtype, slope, inter, expected):
    stored = body(np.int64) - (-1000 if np.dtype(dtype).kind == "u" else 0)
    stored = (stored // 12 if dtype == np.uint8 else stored).astype(dtype)
    source = write(tmp_path / "a.nii", stored, affine(LPS), slope=slope, inter=inter)
    read = nifti.read_nifti(source)
    assert read.volume_hu.dtype == expected
    hu = np.asanyarray(stored, np.float64) * (slope or 1) + (inter or 0)
    np.testing.assert_array_equal(np.sort(read.volume_hu.ravel()), np.sort(hu.ravel()))
    nifti.write_nifti(tmp_path / "b.nii", read.volume_hu, like=source)
    again = nibabel.load(tmp_path / "b.nii")
    assert again.get_data_dtype() == np.dtype(dtype)
    assert (again.dataobj.slope, again.dataobj.inter) == (slope or 1, inter or 0)
    np.testing.assert_array_equal(again.dataobj.get_unscaled(), stored)


def test_values_are_rounded_and_clipped_to_the_type(tmp_path):
    source = write(tmp_path / "a.nii", body(np.uint16) + 1000, affine(LPS), slope=1, inter=-1024)
    volume = nifti.read_nifti(source).volume_hu.astype(np.float32)
    volume[0, 0, :4] = [-2000.0, 12.6, 12.4, 70000.0]
    assert nifti.write_nifti(tmp_path / "b.nii", volume, like=source) == 2
    values = nibabel.load(tmp_path / "b.nii").get_fdata()
    assert {-1024.0, 13.0, 12.0, 64511.0} <= set(values.ravel())


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.random.default_rng(0).random(SHAPE).astype(np.float32), "values lie between 0.*HU"),
        (body() + 1024, "values lie between 30 and 2517, must be HU"),
        (np.full(SHAPE, -1000, np.int16), "values lie between -1000 and -1000"),
        (np.where(body(np.float32) > 1400, np.nan, 0).astype(np.float32), "not finite"),
        (body(np.float32) * 1000, "must be HU"),
    ],
)
def test_values_that_are_not_hu(tmp_path, stored, message):
    path = write(tmp_path / "a.nii.gz", stored, affine(LPS))
    with pytest.raises(VolumeError, match=f"a.nii.gz: .*{message}"):
        nifti.read_nifti(path)


def test_files_that_are_no_volume(tmp_path):
    (tmp_path / "text.nii").write_text("x" * 400)
    (tmp_path / "text.nii.gz").write_text("x" * 400)
    write(tmp_path / "four.nii", body(shape=(3, 3, 3, 2)), np.eye(4))
    write(
        tmp_path / "colour.nii",
        np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]),
        np.eye(4),
    )
    for name in ("absent.nii", "text.nii", "text.nii.gz", "four.nii", "colour.nii"):
        with pytest.raises(VolumeError, match=f"^{name}: ") as caught:
            nifti.read_nifti(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "a.nii", body(), affine(LPS))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(VolumeError, match=r"a.nii: claims 982 bytes where the file has 882"):
        nifti.read_nifti(path)
    packed = tmp_path / "b.nii.gz"
    large = write(tmp_path / "c.nii", body(shape=(20, 20, 20)), affine(LPS))
    packed.write_bytes(gzip.compress(large.read_bytes())[:-60])
    with pytest.raises(VolumeError, match=r"b.nii.gz: voxels cannot be read"):
        nifti.read_nifti(packed)


def test_what_the_reader_mends_is_not_printed(tmp_path, caplog):
    path = write(tmp_path / "a.nii", body(), affine(LPS))
    data = bytearray(path.read_bytes())
    data[254:256] = (9999).to_bytes(2, "little")  # sform_code
    path.write_bytes(data)
    nifti.read_geometry(path)
    assert not caplog.records


def test_an_affine_without_a_volume_is_refused(tmp_path):
    path = write(tmp_path / "a.nii", body(), affine(LPS))
    header = nibabel.load(path).header.copy()
    header["srow_z"] = 0.0
    raw = bytearray(path.read_bytes())
    raw[:348] = header.binaryblock
    path.write_bytes(raw)
    with pytest.raises(VolumeError, match="affine cannot be inverted"):
        nifti.read_nifti(path)


def test_units_other_than_millimetres(tmp_path):
    path = write(
        tmp_path / "a.nii",
        body(),
        affine(np.array(LPS) / 1000, origin=(0, 0, 0.03)),
        edit=lambda header: header.set_xyzt_units("meter"),
    )
    read = nifti.read_geometry(path)
    assert read.spacing_mm == pytest.approx((3, 0.8, 0.7), rel=1e-5)
    assert read.origins_mm[0, 2] == pytest.approx(30)


def test_nothing_is_overwritten_and_nothing_is_left(tmp_path, monkeypatch):
    source = write(tmp_path / "a.nii", body(), affine(LPS))
    before, volume = source.read_bytes(), nifti.read_nifti(source).volume_hu
    for path, message in [
        (source, "a.nii: is there already"),
        (tmp_path / "b.img", "must end in .nii"),
    ]:
        with pytest.raises(VolumeError, match=message):
            nifti.write_nifti(path, volume, like=source)
    with pytest.raises(VolumeError, match=r"b.nii: volume is \(8, 7, 5\), must be \(9, 7, 5\)"):
        nifti.write_nifti(tmp_path / "b.nii", volume[1:], like=source)
    with pytest.raises(VolumeError, match="not finite"):
        nifti.write_nifti(tmp_path / "b.nii", volume * np.float32(np.nan), like=source)

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full_disk)
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(VolumeError, match=r"b.nii: cannot be written: No space left on device"):
        nifti.write_nifti(tmp_path / "b.nii", volume, like=source)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]
    assert source.read_bytes() == before


def test_extensions_are_left_out(tmp_path):
    secret = nibabel.nifti1.Nifti1Extension("comment", b"Marker^Secret")
    source = write(
        tmp_path / "a.nii",
        body(),
        affine(LPS),
        edit=lambda header: (
            header.extensions.append(secret),
            header.__setitem__("descrip", b"Secret description"),
        ),
    )
    nifti.write_nifti(tmp_path / "b.nii", nifti.read_nifti(source).volume_hu, like=source)
    assert b"Secret" in source.read_bytes()
    assert b"Secret" not in (tmp_path / "b.nii").read_bytes()


@pytest.mark.parametrize(
    ("code", "scale"), [(0, 1), (7, 1), (255, 1), (2, 1), (3, 0.001), (11, 0.001)]
)
def test_codes_of_units(tmp_path, code, scale):
    path = write(
        tmp_path / "a.nii",
        body(),
        affine(np.array(LPS)),
        edit=lambda header: header.__setitem__("xyzt_units", code),
    )
    read = nifti.read_nifti(path)
    assert read.spacing_mm == pytest.approx(np.array([3, 0.8, 0.7]) * scale)
    assert bool(read.doubts) == (code in (0, 7, 255))
    nifti.write_nifti(tmp_path / "b.nii", read.volume_hu, like=path)
    assert nibabel.load(tmp_path / "b.nii").header["xyzt_units"] == code


def changed(field, value):
    return lambda header: header.__setitem__(field, value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dim", [0, 5, 7, 9, 1, 1, 1, 1]),
        ("dim", [3, -5, 7, 9, 1, 1, 1, 1]),
        ("dim", [3, 5, 0, 9, 1, 1, 1, 1]),
        ("dim", [7, 5, 7, 3, 3, 1, 1, 1]),
        ("dim", [9, 5, 7, 9, 1, 1, 1, 1]),
        ("vox_offset", 3e9),
        ("vox_offset", np.nan),
        ("vox_offset", -400),
        ("magic", b"xx1"),
        ("datatype", 9999),
        ("datatype", 32),
        ("datatype", 128),
        ("scl_slope", np.inf),
        ("scl_slope", np.nan),
        ("scl_slope", 0.0),
        ("scl_inter", np.nan),
        ("srow_x", [np.nan] * 4),
        ("srow_x", [0.0] * 4),
        ("sizeof_hdr", 7),
        ("pixdim", [np.nan] * 8),
    ],
)
def test_a_header_gives_one_sentence_or_the_volume(tmp_path, field, value):
    stored = body()
    path = write(tmp_path / "a.nii", stored, affine(LPS))
    header = nibabel.load(path).header.copy()
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["magic"], header["vox_offset"] = b"n+1", 352
    header[field] = value
    raw = bytearray(path.read_bytes())
    raw[:348] = header.structarr.tobytes()
    path.write_bytes(raw)
    try:
        read = nifti.read_nifti(path)
    except VolumeError as error:
        assert str(error).startswith("a.nii: ")
        assert "\n" not in str(error)
        return
    assert field in {"scl_slope", "pixdim", "vox_offset", "scl_inter", "sizeof_hdr"}
    np.testing.assert_array_equal(np.sort(read.volume_hu, None), np.sort(stored, None))
