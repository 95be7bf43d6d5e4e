"""Small files that claim to be large: refused in one sentence, in no time and no memory.

All are read by one other process, which measures each.
"""

import gzip
import os
import pickle
import struct
import sys
import zipfile
import zlib

import fake_dicom
import h5py
import nibabel
import numpy as np
import pydicom
import pytest
from conftest import CHECKOUT
from measured import measure
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")
SIZE = 128
IMAGE = np.random.default_rng(5).integers(-1000, 1500, (SIZE, SIZE))
GOLDEN = CHECKOUT / "tests" / "golden" / "htj2k_32x32_uint16.j2c"


def _frame(tmp_path, syntax):
    path = fake_dicom.save(fake_dicom.ct_slice(IMAGE), tmp_path / "sound", syntax=syntax)
    return next(pydicom.encaps.generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def _compressed(path, frame, syntax, *, frames=1):
    dataset = fake_dicom.ct_slice(IMAGE)
    dataset.PixelData = encapsulate([frame] * frames)
    dataset["PixelData"].is_undefined_length = True
    return fake_dicom.save(dataset, path, syntax=syntax)


def _changed(data, place, form, *values):
    data = bytearray(data)
    struct.pack_into(form, data, place, *values)
    return bytes(data)


def _sof(frame, marker):
    return frame.index(bytes([0xFF, marker])) + 4


def _jpeg_2000(tmp_path):
    frame = _frame(tmp_path, JPEG2000Lossless)
    return {
        "size": _changed(frame, 8, ">II", 60000, 60000),
        "samples": _changed(frame, 40, ">H", 16384),
        "bits": _changed(frame, 42, ">B", 37),
        "tiles": _changed(frame, 24, ">II", 1, 1),
        "no header": b"\0" * 40,
        "end in header": frame[:20],
    }


def _jpeg(size):
    sof = struct.pack(">HHBHHB", 0xFFC0, 11, 8, *size, 1) + b"\x01\x11\x00"
    return (
        b"\xff\xd8" + sof + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + b"\0" * 40 + b"\xff\xd9"
    )


def _jpeg_ls(tmp_path):
    frame = _frame(tmp_path, JPEGLSLossless)
    oversize = struct.pack(">HHBBII", 0xFFF8, 12, 4, 4, 60000, 60000)
    return {
        "size": _changed(frame, _sof(frame, 0xF7) + 1, ">HH", 60000, 60000),
        "no lines": _changed(frame, _sof(frame, 0xF7) + 1, ">H", 0),
        "oversize": frame[:2] + oversize + frame[2:],
    }


def _rle(lengths):
    segments = [b"\x81\x00" * length for length in lengths]
    offsets = [64, 64 + len(segments[0])]
    return struct.pack("<16I", 2, *offsets, *[0] * 13) + b"".join(segments)


def _deflated(path, size):
    """Write a deflated slice with `size` zeros in a private element before the pixels."""
    fake_dicom.save(fake_dicom.ct_slice(IMAGE), path, syntax=DeflatedExplicitVRLittleEndian)
    data = path.read_bytes()
    place = 144 + struct.unpack_from("<I", data, 140)[0]
    inflated = zlib.decompress(data[place:], -15)
    end = inflated.index(struct.pack("<HH", 0x7FE0, 0x0010))
    packing = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = struct.pack("<HH2sHI", 0x0029, 0x1001, b"OB", 0, size)
    parts = [inflated[:end], head, *[b"\0" * (1 << 20)] * (size >> 20), inflated[end:]]
    packed = b"".join([*map(packing.compress, parts), packing.flush()])
    path.write_bytes(data[:place] + packed)
    return path


def _dicom(tmp_path):
    """Yield (kind, reader, path, part of the message)."""
    says = f"must be Rows x Columns, {SIZE} x {SIZE}"
    j2k = _jpeg_2000(tmp_path)
    htj2k = _changed(GOLDEN.read_bytes(), 8, ">II", 60000, 60000)
    ls = _jpeg_ls(tmp_path)
    made = [
        ("JPEG 2000 size", j2k["size"], JPEG2000Lossless, f"60000 x 60000 pixels, {says}"),
        ("JPEG 2000 samples", j2k["samples"], JPEG2000Lossless, "16384 samples a pixel"),
        ("JPEG 2000 bits", j2k["bits"], JPEG2000Lossless, "38 bits a sample"),
        ("JPEG 2000 tiles", j2k["tiles"], JPEG2000Lossless, "16384 tiles, must have"),
        ("JPEG 2000 nothing", j2k["no header"], JPEG2000Lossless, "has no header of JPEG 2000"),
        ("JPEG 2000 cut", j2k["end in header"], JPEG2000Lossless, "ends within its header"),
        ("HTJ2K size", htj2k, HTJ2KLossless, f"60000 x 60000 pixels, {says}"),
        ("JPEG size", _jpeg((60000, 60000)), JPEGBaseline8Bit, f"60000 x 60000 pixels, {says}"),
        ("JPEG-LS size", ls["size"], JPEGLSLossless, f"60000 x 60000 pixels, {says}"),
        ("JPEG-LS no lines", ls["no lines"], JPEGLSLossless, f"0 x {SIZE} pixels, {says}"),
        ("JPEG-LS oversize", ls["oversize"], JPEGLSLossless, "says its size twice"),
        ("RLE", _rle([1 << 23, 4]), RLELossless, f"unpacks to more than {2 * SIZE**2} pixels"),
    ]
    for kind, frame, syntax, message in made:
        yield kind, "slice", _compressed(tmp_path / kind, frame, syntax), message
    frame = _frame(tmp_path, JPEG2000Lossless)
    several = _compressed(tmp_path / "frames", frame, JPEG2000Lossless, frames=1000)
    yield "frames", "slice", several, "has 1000 frames, must have NumberOfFrames, 1"
    for reader in ("header", "slice"):
        path = _deflated(tmp_path / f"deflated {reader}", 1 << 28)
        yield f"deflated {reader}", reader, path, "inflates to more than"
    path = fake_dicom.save(fake_dicom.ct_slice(IMAGE), tmp_path / "endless")
    data = path.read_bytes()
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    path.write_bytes(data[: data.index(struct.pack("<HH", 0x7FE0, 0x0010))] + head)
    os.truncate(path, 1 << 32)  # takes no room on the disk
    yield "pixels without end", "slice", path, "needs more than"


def _nifti(tmp_path):
    """Yield (kind, reader, path, part of the message)."""

    def write(kind, edit, *, suffix=".nii.gz", add=b"", extended=False):
        image = nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4))
        data = bytearray(image.to_bytes())
        for place, form, value in edit:
            struct.pack_into(form, data, place, value)
        data[348] = extended
        data[352:352] = add
        path = tmp_path / f"{kind}{suffix}"
        path.write_bytes(gzip.compress(data) if suffix == ".nii.gz" else data)
        return path

    huge = [(place, "<h", 30000) for place in (42, 44, 46)]
    line = [(42, "<h", 32000), (44, "<h", 32000), (46, "<h", 1)]
    claim = struct.pack("<ii", 1 << 30, 0)
    for reader in ("nifti header", "nifti"):
        for suffix in (".nii", ".nii.gz"):
            kind = f"{reader}{suffix}"
            yield kind, reader, write(f"{kind} a", huge, suffix=suffix), "claims 54000000000"
            yield kind, reader, write(f"{kind} b", line, suffix=suffix), "claims 2048000352 bytes"
            for far in (1e30, -4.0, float("nan"), 3e9):
                offset = write(f"{kind} {far:g}", [(108, "<f", far)], suffix=suffix)
                yield f"{kind} {far:g}", reader, offset, "vox_offset is"
            extension = write(f"{kind} e", [], suffix=suffix, add=claim, extended=True)
            yield kind, reader, extension, "has an extension of 1073741824 bytes"


def _arrays(tmp_path):
    """Yield (kind, reader, path, part of the message): weights, HDF5, PNG and NumPy."""
    zeros = np.zeros(1 << 25, np.float32)
    np.savez_compressed(tmp_path / "a.npz", big=zeros)
    yield "npz", "weights", tmp_path / "a.npz", "its arrays take"
    yield "npz state", "state", tmp_path / "a.npz", "its arrays take"
    head = b'{"a":{"dtype":"F32","shape":[1073741824,64],"data_offsets":[0,274877906944]}}'
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(head)) + head)
    yield "safetensors", "weights", tmp_path / "a.safetensors", "cannot be read as .safetensors"
    (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + head)
    yield "safetensors header", "state", tmp_path / "b.safetensors", "cannot be read"
    for kind, make in _HDF5.items():
        with h5py.File(tmp_path / f"{kind}.h5", "w") as file:
            make(file, "label")
            file["data"] = np.zeros((1, SIZE, SIZE))
        yield f"h5 {kind}", "hdf5", tmp_path / f"{kind}.h5", "label "
        if "link" not in kind:  # a trunk's links are not followed
            yield f"h5 {kind} weights", "weights", tmp_path / f"{kind}.h5", "label "
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 16, 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        checked = kind + content
        png += struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
    (tmp_path / "a.png").write_bytes(png)
    yield "png", "png", tmp_path / "a.png", "claims 128000000 bytes of pixels"
    for number, shape in enumerate(["(1000000, 1000, 1000)", f"({2**70}, 1, 1)", f"({2**32},)*3"]):
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        path = tmp_path / f"{number}.npy"
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
        yield f"npy {number}", "npy", path, "must be a .npy file of numbers"


def _virtual(file, name):
    layout = h5py.VirtualLayout((1 << 20, 64, 64), "f4")
    layout[:1] = h5py.VirtualSource("elsewhere.h5", "x", (1, 64, 64))
    file.create_virtual_dataset(name, layout)


def _tensor(shape):
    """Return the pickle of a state with one tensor: four numbers, seen again and again."""

    def text(one):
        return b"X" + struct.pack("<I", len(one)) + one

    axes = b"".join(b"J" + struct.pack("<i", axis) for axis in shape)
    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu")
    storage += b"K\x04tQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00(" + axes + b"t("
    return b"\x80\x02}" + text(b"a") + call + b"K\x00" * len(shape) + b"ttRs."


def _pickles(tmp_path):
    """Yield (kind, reader, path, part of the message): PyTorch's two serialisations."""
    noting = b"\x80\x02}r" + struct.pack("<I", 1 << 29) + b"."
    large = b"\x80\x02}" + b"0}" * (1 << 23) + b"."
    kinds = {
        "noting": (noting, "notes more objects"),
        "large": (large, "its pickle is larger"),
        "repeated": (_tensor((1 << 20, 1 << 12)), "its arrays take 17179869184 bytes"),
    }
    legacy = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    head = b"".join(pickle.dumps(one, 2) for one in legacy)
    for kind, (pickled, message) in kinds.items():
        path = tmp_path / f"{kind}.pth"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/data.pkl", pickled)
            archive.writestr("a/data/0", bytes(16))
        yield f"pth {kind}", "weights", path, message
        path = tmp_path / f"{kind}_legacy.pth"
        path.write_bytes(head + pickled + pickle.dumps(["0"], 2) + struct.pack("<q", 4) + bytes(16))
        yield f"legacy pth {kind}", "weights", path, message


_HDF5 = {
    "shape": lambda file, name: file.create_dataset(
        name, (1 << 20, 64, 64), "f4", chunks=(1, 64, 64), compression="gzip"
    ),
    "external": lambda file, name: file.create_dataset(
        name, (1, 64, 64), "f4", external=[("/etc/passwd", 0, 1 << 14)]
    ),
    "virtual": _virtual,
    "external link": lambda file, name: file.__setitem__(name, h5py.ExternalLink("other.h5", "/x")),
    "looping link": lambda file, name: file.__setitem__(name, h5py.SoftLink(f"/{name}")),
}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """Return (kind, path, part of the message) of each file, and what was measured."""
    makers = (_dicom, _nifti, _arrays, _pickles)
    rows = [row for make in makers for row in make(tmp_path_factory.mktemp("bombs"))]
    return rows, measure([(reader, path) for _, reader, path, _ in rows])


def test_small_files_that_claim_to_be_large(bombs):
    faults = []
    for (kind, _, path, wanted), took in zip(*bombs, strict=True):
        line = f"{kind:20} {path.stat().st_size:9} B {took.seconds:6.2f} s {took.bytes >> 20:5} MB"
        sys.stdout.write(f"{line} {took.message[:110]}\n")
        sound = took.message.startswith(path.name) and wanted in took.message
        if not sound or took.seconds > 1 or took.bytes > 500e6:
            faults.append(f"{line} {took.message}")
    assert not faults, "\n".join(faults)
