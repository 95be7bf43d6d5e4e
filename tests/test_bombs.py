"""Small files that claim to be large: refused in one sentence, in no time and no memory.

All are read by one other process, which measures each.
"""

import struct
import sys
import zlib

import fake_dicom
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


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """Return (kind, path, part of the message) of each file, and what was measured."""
    rows = list(_dicom(tmp_path_factory.mktemp("dicom")))
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
