"""What compressed pixels say about their own size, judged before a decoder makes room for it.

A decoder believes the header of the codestream, not the attributes of the file: five kilobytes
may claim an image of 60000 x 60000 pixels, or a million parts that each take memory. Here that
header is read on its own, and must agree with Rows and Columns.
"""

import dataclasses
import struct
from collections.abc import Callable, Iterator

from pydicom.encaps import generate_fragments, parse_basic_offsets

from cpca_jax.data.dicom.attributes import Reported
from cpca_jax.errors import DicomError

# The last numbers of the transfer syntaxes below 1.2.840.10008.1.2.4; JPEG with JPEG-LS, JPEG 2000
# with HTJ2K.
_FAMILY = "1.2.840.10008.1.2.4."
_JPEG = ("50", "51", "57", "70", "80", "81")
_JPEG_2000 = ("90", "91", "92", "93", "201", "202", "203")
_RLE = "1.2.840.10008.1.2.5"
# A decoder takes kilobytes for each tile and hundreds of bytes for each of the smaller parts;
# tiles and parts of real images are 64 x 64 pixels at least, of the largest as well.
_MOST_TILES = 4096
_MOST_PARTS = 1 << 18
# Markers of JPEG (ITU-T T.81): frames, of the whole hierarchy (DHP) and of JPEG-LS (T.87) too.
_FRAMES = (*range(0xC0, 0xD0), 0xDE, 0xF7)
_NO_FRAMES = (0xC4, 0xC8, 0xCC)
_SCAN, _LS_PARAMETERS, _OVERSIZE = 0xDA, 0xF8, 4
# Markers without a length: TEM, restart markers and the start of the image.
_BARE = (0x01, *range(0xD0, 0xD9))
# Markers of JPEG 2000 (ITU-T T.800).
_SIZ, _COD, _COC, _SOT, _SOD, _EOC = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9


@dataclasses.dataclass(frozen=True)
class _Claim:
    """What a codestream says of its image."""

    rows: int
    columns: int
    samples: int
    bits: int


def require_fitting(name: str, syntax: str, pixel_data: bytes, shape: tuple[int, int]) -> None:
    """Refuse compressed pixels that claim another size than their slice has.

    Args:
        name: the base name of the file, for messages.
        syntax: TransferSyntaxUID.
        pixel_data: the value of PixelData: a table of offsets, then fragments of one frame.
        shape: Rows and Columns.

    Raises:
        DicomError: the codestream has no sound header, or claims other pixels, several samples, or
            more parts than an image of this size can have.
    """
    judge = _judge(syntax)
    if judge is None:
        raise DicomError(f"{name}: TransferSyntaxUID {syntax} is not one that can be read")
    with Reported(name, "PixelData"):
        frames = len(parse_basic_offsets(pixel_data))
        if frames > 1:
            raise DicomError(f"{name}: PixelData has {frames} frames, must have NumberOfFrames, 1")
        _, *fragments = generate_fragments(pixel_data)  # the first item is the table of offsets
    try:
        judge(name, b"".join(fragments), shape)
    except (struct.error, IndexError):
        raise DicomError(f"{name}: PixelData ends within its header; export it again") from None


def _judge(syntax: str) -> Callable[[str, bytes, tuple[int, int]], None] | None:
    if syntax == _RLE:
        return _judge_rle
    number = syntax.removeprefix(_FAMILY)
    if number in _JPEG:
        return _judge_jpeg
    return _judge_jpeg_2000 if number in _JPEG_2000 else None


def _require(name: str, kind: str, claim: _Claim, shape: tuple[int, int]) -> None:
    if (claim.rows, claim.columns) != shape:
        found = f"{claim.rows} x {claim.columns} pixels"
        wanted = f"Rows x Columns, {shape[0]} x {shape[1]}"
        raise DicomError(f"{name}: PixelData ({kind}) says {found}, must be {wanted}")
    if claim.samples != 1:
        found = f"{claim.samples} samples a pixel"
        raise DicomError(f"{name}: PixelData ({kind}) says {found}, must be SamplesPerPixel, 1")
    if not 1 <= claim.bits <= 16:
        found = f"{claim.bits} bits a sample"
        raise DicomError(f"{name}: PixelData ({kind}) says {found}, must be BitsAllocated, 16")


def _judge_jpeg(name: str, frame: bytes, shape: tuple[int, int]) -> None:
    found = False
    for marker, body in _jpeg_segments(frame):
        if marker in _FRAMES and marker not in _NO_FRAMES:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", body)
            _require(name, "JPEG", _Claim(rows, columns, samples, bits), shape)
            found = True
        elif marker == _LS_PARAMETERS and body[0] == _OVERSIZE:
            raise DicomError(f"{name}: PixelData (JPEG-LS) says its size twice, must say it once")
    if not found:
        raise DicomError(f"{name}: PixelData has no header of JPEG, must begin with one")


def _jpeg_segments(frame: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the markers of a JPEG image before its first scan, each with its content."""
    place = 0
    while place < len(frame):
        if frame[place] != 0xFF:
            return
        while frame[place] == 0xFF:  # a marker may begin with any number of these
            place += 1
        marker = frame[place]
        place += 1
        if marker == _SCAN:
            return
        if marker not in _BARE:
            (length,) = struct.unpack_from(">H", frame, place)
            yield marker, frame[place + 2 : place + length]
            place += max(length, 2)


def _judge_jpeg_2000(name: str, frame: bytes, shape: tuple[int, int]) -> None:
    place = _codestream(name, frame)
    if frame[place : place + 4] != b"\xff\x4f\xff\x51":
        raise DicomError(f"{name}: PixelData has no header of JPEG 2000, must begin with one")
    for marker, body in _jpeg_2000_segments(frame, place + 2):
        if marker == _SIZ:
            right, lower, left, upper, width, height, x, y = struct.unpack_from(">8I", body, 2)
            samples, bits, step_x, step_y = struct.unpack_from(">HBBB", body, 34)
            # Samples that stand for several pixels each would make another image.
            claim = _Claim(lower - upper, right - left, samples, (bits & 0x7F) + 1)
            _require(name, "JPEG 2000", claim, shape)
            width, height = width * (step_x == 1), height * (step_y == 1)
            tiles = _parts(right - x, width) * _parts(lower - y, height)
            if not 1 <= tiles <= _MOST_TILES:
                wanted = f"1 to {_MOST_TILES}"
                raise DicomError(f"{name}: PixelData has {tiles} tiles, must have {wanted}")
        elif marker in {_COD, _COC}:
            _require_few_parts(name, marker, body, shape)


def _codestream(name: str, frame: bytes) -> int:
    """Return where the codestream begins: at once, or in a box of a JP2 file."""
    if frame[4:8] != b"jP  ":
        return 0
    place = 0
    while place + 8 <= len(frame):
        length, kind = struct.unpack_from(">I4s", frame, place)
        start = place + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", frame, start)
            start += 8
        if kind == b"jp2c":
            return start
        # A palette makes several samples of one.
        if kind == b"jp2h" and b"pclr" in frame[place : place + length]:
            raise DicomError(f"{name}: PixelData (JPEG 2000) has a palette, must be grey")
        place += max(length, 8)
    return len(frame)


def _jpeg_2000_segments(frame: bytes, place: int) -> Iterator[tuple[int, bytes]]:
    """Yield the markers of a codestream and of its tiles' headers, each with its content."""
    end = len(frame)
    while place + 4 <= len(frame):
        marker, length = struct.unpack_from(">HH", frame, place)
        if marker == _EOC:
            return
        if marker == _SOD:
            place = max(end, place + 2)
            continue
        if marker == _SOT:
            (size,) = struct.unpack_from(">I", frame, place + 6)
            end = place + size if size else len(frame)
        yield marker, frame[place + 4 : place + 2 + length]
        place += 2 + max(length, 2)


def _require_few_parts(name: str, marker: int, body: bytes, shape: tuple[int, int]) -> None:
    """Judge the number of code blocks and of precincts of a way of coding (T.800 A.6.1, A.6.2)."""
    if marker == _COD:
        own_precincts, coding = body[0] & 1, body[5:]
    else:  # with fewer than 257 components, a number of one byte stands first
        own_precincts, coding = body[1] & 1, body[2:]
    levels = coding[0]
    if levels > 32:
        raise DicomError(f"{name}: PixelData has {levels} resolution levels, must have 32 at most")
    parts = _area(shape, (coding[1] & 15) + 2, (coding[2] & 15) + 2)
    if own_precincts:
        for number, size in enumerate(coding[5 : 6 + levels]):
            smaller = levels - number
            level = (_parts(shape[0], 1 << smaller), _parts(shape[1], 1 << smaller))
            parts += _area(level, size & 15, size >> 4)
    if parts > _MOST_PARTS:
        raise DicomError(f"{name}: PixelData has {parts} parts, must have {_MOST_PARTS} at most")


def _area(shape: tuple[int, int], width_bits: int, height_bits: int) -> int:
    return _parts(shape[1], 1 << width_bits) * _parts(shape[0], 1 << height_bits)


def _parts(length: int, size: int) -> int:
    """Return how many parts of a size cover a length; 0 where either is no length."""
    return -(-length // size) if size > 0 and length > 0 else 0


def _judge_rle(name: str, frame: bytes, shape: tuple[int, int]) -> None:
    count, *offsets = struct.unpack_from("<16I", frame)
    if count != 2:
        raise DicomError(f"{name}: PixelData (RLE) says {count} segments, must be 2 for 16 bits")
    ends = [*offsets[1:2], len(frame)]
    for start, end in zip(offsets[:2], ends, strict=True):
        if not 64 <= start <= end <= len(frame):
            raise DicomError(f"{name}: PixelData (RLE) has a segment outside of its {len(frame)} B")
        wanted = shape[0] * shape[1]
        # Some writers fill up a segment, which the decoder cuts off.
        if _rle_length(frame, start, end, 2 * wanted) > 2 * wanted:
            raise DicomError(
                f"{name}: PixelData (RLE) unpacks to more than {2 * wanted} pixels, "
                f"must be Rows x Columns, {shape[0]} x {shape[1]}"
            )


def _rle_length(frame: bytes, place: int, end: int, enough: int) -> int:
    """Return the number of bytes that a segment unpacks to; counting ends beyond `enough`."""
    length = 0
    while place < end and length <= enough:
        head = frame[place]
        literal = head < 128
        length += head + 1 if literal else (257 - head) * (head > 128)
        place += head + 2 if literal else 1 + (head > 128)
    return length
