"""Single CT slices, read from DICOM files with pydicom.

pydicom is lenient: it returns stored values as if they were HU where the rescale attributes are
missing, and gives pixels a third axis where Rows is too small. Here everything that a CT slice
must have is checked, and each failure is one `DicomError`.
"""

import dataclasses
import functools
import logging
import re
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Bool, Float32, Int16, Int32, Shaped
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cpca_jax import units
from cpca_jax.data.dicom import header as headers
from cpca_jax.data.dicom.attributes import Attributes, Reported
from cpca_jax.data.dicom.bounded import HEADER_BYTES, BoundedReader, pixel_bytes
from cpca_jax.data.dicom.codestreams import require_fitting
from cpca_jax.data.dicom.header import STRICT, Allowances, Header
from cpca_jax.errors import DicomError

# pydicom's messages may quote values of the file, and complaints of the decoders become errors
# here.
for _library in ("pydicom", "pylibjpeg", "openjpeg"):
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)

# Nothing else is read from a file: names, dates and private elements are never read.
_HEADER_TAGS = [
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "ImageType",
    "Modality",
    "PatientID",
    "SliceThickness",
    "SpacingBetweenSlices",
    "InstanceNumber",
    "ConvolutionKernel",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "LossyImageCompression",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
]
_PIXEL_TAGS = ["PixelData"]
# The package that decodes each transfer syntax. Those for JPEG Lossless are not among this
# project's requirements: one is large, the other under GPL-3.
_CODECS = {
    "1.2.840.10008.1.2.4.57": "python-gdcm or pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.70": "python-gdcm or pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
}
_JPEG_2000_CODEC = "pylibjpeg and pylibjpeg-openjpeg"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Slice(Header):
    """A CT slice as its file holds it.

    Attributes:
        stored: the stored values, int32 (y x); HU are slope * stored + intercept.
        outside: the pixels that lie outside the scan by what the file says.
    """

    stored: Int32[np.ndarray, "y x"]
    outside: Bool[np.ndarray, "y x"]

    @functools.cached_property
    def hu(self) -> Float32[np.ndarray, "y x"]:
        """The pixels in HU, not rounded; padding is air."""
        hu = self.stored * np.float64(self.slope) + self.intercept
        return np.where(self.outside, units.AIR_HU, hu).astype(np.float32)

    @property
    def pixels_hu(self) -> Int16[np.ndarray, "y x"]:
        """The pixels in HU, rounded; padding and everything below -1024 HU are -1024."""
        return units.whole_hu(self.hu)


def is_dicom(path: Path) -> bool:
    """Tell whether a file looks like DICOM, from its first 132 bytes.

    With a preamble, "DICM" stands at byte 128; without one, the file must begin with an element
    of group 2 or 8 that has a sensible value representation or length. The answer
    is False for files that cannot be opened.
    """
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    if start[128:] == b"DICM":
        return True
    if len(start) < 132 or start[:2] not in (b"\x02\x00", b"\x08\x00") or start[3] != 0:
        return False
    length = int.from_bytes(start[4:8], "little")
    return bool(re.fullmatch(rb"[A-Z]{2}", start[4:6])) or length < 256


def has_executable_preamble(path: Path) -> bool:
    """Tell whether the 128 bytes before "DICM" begin like a Windows or Linux program.

    Such a file is DICOM and a program at once. Its data set may be sound; files written from it
    begin with zeros.
    """
    with Reported(path.name, "the file"), path.open("rb") as file:
        return file.read(4).startswith((b"MZ", b"\x7fELF"))


def read_header(path: Path, *, root: Path | None = None, allowances: Allowances = STRICT) -> Header:
    """Read and check everything in a slice but its pixels.

    Args:
        path: a DICOM file, with or without the 128-byte preamble.
        root: the folder of the collection, see `header.check`.
        allowances: the attributes that may be missing.

    Returns:
        The checked header.

    Raises:
        DicomError: the file is not DICOM or not CT, has several frames or colour, has no HU or no
            geometry, or is damaged.
    """
    dataset = _dataset(path, _HEADER_TAGS)
    return headers.check(Attributes(path.name, dataset), path, root=root, allowances=allowances)


def read_slice(path: Path, *, root: Path | None = None, allowances: Allowances = STRICT) -> Slice:
    """Read a slice with its pixels.

    Args:
        path: a DICOM file; compressed pixels need the packages of requirements.txt.
        root: the folder of the collection, see `header.check`.
        allowances: the attributes that may be missing.

    Returns:
        The slice.

    Raises:
        DicomError: `read_header` refuses the file, or its pixels are truncated, do not fit the
            header, or need a decoder that is not installed.
    """
    limit = HEADER_BYTES
    with Reported(path.name, "the file"):
        large = path.stat().st_size > limit
    if large:
        limit += pixel_bytes(read_header(path, root=root, allowances=allowances).shape)
    dataset = _dataset(path, _HEADER_TAGS + _PIXEL_TAGS, limit)
    attributes = Attributes(path.name, dataset)
    header = headers.check(attributes, path, root=root, allowances=allowances)
    stored = _stored_pixels(dataset, header).astype(np.int32)
    fields = {field.name: getattr(header, field.name) for field in dataclasses.fields(header)}
    low, high = header.padding or (1, 0)
    return Slice(**fields, stored=stored, outside=(stored >= low) & (stored <= high))


def _dataset(path: Path, tags: list[str], limit: int = HEADER_BYTES) -> pydicom.Dataset:
    with Reported(path.name, "the file"):
        path.stat()  # a missing file is not "not DICOM"
        if not is_dicom(path):
            raise DicomError(f"{path.name}: is not a DICOM file")
        # force: pydicom reads files without a preamble only on demand. Files that are not CT are
        # refused in any case.
        with BoundedReader(path, limit) as file:
            return pydicom.dcmread(
                file,
                stop_before_pixels="PixelData" not in tags,
                force=True,
                specific_tags=list(tags),
            )


def _stored_pixels(dataset: pydicom.Dataset, header: Header) -> Shaped[np.ndarray, "y x"]:
    name = header.path.name
    _require_decodable(dataset, header)
    with Reported(name, "PixelData"):
        # Unused high bits are cleared or sign-extended by pydicom.
        stored = np.asarray(dataset.pixel_array)
    if stored.shape != header.shape:
        found = " x ".join(map(str, stored.shape))
        wanted = f"Rows x Columns, {header.shape[0]} x {header.shape[1]}"
        raise DicomError(f"{name}: PixelData decodes to {found} pixels, must be {wanted}")
    return stored


def _require_decodable(dataset: pydicom.Dataset, header: Header) -> None:
    name = header.path.name
    with Reported(name, "TransferSyntaxUID"):
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, little = dataset.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        syntax = dataset.file_meta.TransferSyntaxUID
        if "PixelData" not in dataset:
            raise DicomError(f"{name}: PixelData is missing; export the file again")
        if syntax.is_encapsulated:
            if not get_decoder(syntax).is_available:
                package = _CODECS.get(str(syntax), _JPEG_2000_CODEC)
                raise DicomError(f"{name}: TransferSyntaxUID {syntax.name} needs {package}")
            require_fitting(name, str(syntax), dataset.PixelData, header.shape)
            return
        found, wanted = len(dataset.PixelData), 2 * header.shape[0] * header.shape[1]
        if found not in {wanted, wanted + wanted % 2}:
            raise DicomError(f"{name}: PixelData has {found} bytes, must have {wanted}")
