"""What a CT slice must say about itself before its pixels may be taken for HU.

The rules are those of DICOM's CT image (PS3.3 C.8.2.1) as far as numbers hang on them: a
missing or odd rescale, an inverted grey scale, a second frame or a lost geometry would go
through a reader silently and come out as a plausible, wrong volume.
"""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np

from cpca_jax.data import folders as folder_names
from cpca_jax.data.attributes import Attributes

_ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
# How far direction cosines may be from unit length and a right angle; files round them.
_COSINE_TOLERANCE = 1e-3
_LENGTHS = range(1, 65536)


@dataclasses.dataclass(frozen=True)
class Header:
    """What a CT slice says about itself, checked; no pixels.

    Attributes:
        path: the file.
        folders: names of the folders it lies in, outermost first; not for messages.
        patient_key: see `cpca_jax.data.folders`.
        series_key: digest of SeriesInstanceUID, 16 hexadecimal digits; "" where blank.
        sop_key: digest of SOPInstanceUID, likewise.
        image_type: the values of ImageType, in upper case.
        kernel: convolution kernel; several values are joined by "/" ("Br38f/3": the second
            is the strength of an iterative reconstruction); "unknown" where blank.
        thickness_mm: slice thickness; 0 where the file does not say.
        shape: (rows, columns).
        spacing_mm: distance of rows and of columns: (y, x).
        orientation: direction cosines of x, then of y, in patient coordinates.
        origin_mm: centre of the first pixel in patient coordinates.
        slope: RescaleSlope, HU per stored unit.
        intercept: RescaleIntercept, HU.
        lossy: whether the pixels were ever compressed with loss.
    """

    path: Path
    folders: tuple[str, ...]
    patient_key: str
    series_key: str
    sop_key: str
    image_type: tuple[str, ...]
    kernel: str
    thickness_mm: float
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    orientation: tuple[float, ...]
    origin_mm: tuple[float, ...]
    slope: float
    intercept: float
    lossy: bool

    @property
    def position_mm(self) -> float:
        """The slice's place along its normal, which is the cross product of x and y."""
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        return float(normal @ np.asarray(self.origin_mm))

    @property
    def localizer(self) -> bool:
        """Whether this is a scout view and not a slice."""
        return "LOCALIZER" in self.image_type


def check(attributes: Attributes, path: Path, *, root: Path | None = None) -> Header:
    """Check a file's attributes and collect them.

    Args:
        attributes: the file's attributes.
        path: the file.
        root: the folder of the collection that `path` lies in; only its own name and those
            of the folders below it may name the patient or the dose level. Default: all
            folders of the path.

    Returns:
        The checked header.

    Raises:
        DicomError: not CT, several frames, colour, no HU, no geometry, or damaged.
    """
    _require_single_ct_image(attributes)
    _require_16_bit_grey(attributes)
    slope, intercept = _rescale(attributes)
    folders = _folders(path, root)
    return Header(
        path=path,
        folders=folders,
        patient_key=folder_names.patient_key(attributes.text("PatientID"), folders),
        series_key=attributes.digest("SeriesInstanceUID"),
        sop_key=attributes.digest("SOPInstanceUID"),
        image_type=tuple(str(value).upper() for value in attributes.values("ImageType")),
        kernel=_kernel(attributes),
        thickness_mm=_thickness(attributes),
        shape=(attributes.whole("Rows", _LENGTHS), attributes.whole("Columns", _LENGTHS)),
        spacing_mm=_spacing(attributes),
        orientation=_orientation(attributes),
        origin_mm=attributes.numbers("ImagePositionPatient", 3),
        slope=slope,
        intercept=intercept,
        lossy=attributes.text("LossyImageCompression") == "01",
    )


def _folders(path: Path, root: Path | None) -> tuple[str, ...]:
    parent = Path(os.path.abspath(path)).parent
    above = Path(os.path.abspath(root)).parent if root else Path(parent.anchor)
    return parent.relative_to(above).parts


def _require_single_ct_image(attributes: Attributes) -> None:
    attributes.require("Modality", "CT")
    several = attributes.values("NumberOfFrames") and attributes.number("NumberOfFrames") != 1
    if several or attributes.text("SOPClassUID") == _ENHANCED_CT:
        raise attributes.refused(
            "NumberOfFrames",
            attributes.text("NumberOfFrames") or "missing in an enhanced CT image",
            "1: convert to single frames (one file a slice)",
        )


def _require_16_bit_grey(attributes: Attributes) -> None:
    attributes.whole("SamplesPerPixel", range(1, 2))
    attributes.require("PhotometricInterpretation", "MONOCHROME2")
    attributes.whole("BitsAllocated", range(16, 17))
    bits = attributes.whole("BitsStored", range(1, 17))
    attributes.whole("HighBit", range(bits - 1, bits))
    attributes.whole("PixelRepresentation", range(2))


def _rescale(attributes: Attributes) -> tuple[float, float]:
    slope = attributes.number("RescaleSlope")
    if slope <= 0:
        raise attributes.refused("RescaleSlope", f"{slope:g}", "a positive number")
    attributes.require("RescaleType", "HU", optional=True)
    return slope, attributes.number("RescaleIntercept")


def _kernel(attributes: Attributes) -> str:
    # Free text that goes into messages and manifests: one short line of harmless characters.
    kernel = re.sub(r"[^A-Za-z0-9._+/ -]", "", attributes.text("ConvolutionKernel"))
    return kernel[:32].strip() or "unknown"


def _thickness(attributes: Attributes) -> float:
    if not attributes.values("SliceThickness"):
        return 0.0
    thickness = attributes.number("SliceThickness")
    if thickness < 0:
        raise attributes.refused("SliceThickness", f"{thickness:g}", "0 or more")
    return thickness


def _spacing(attributes: Attributes) -> tuple[float, float]:
    y, x = attributes.numbers("PixelSpacing", 2)
    if min(y, x) <= 0:
        raise attributes.refused("PixelSpacing", f"{y:g}, {x:g}", "2 positive numbers")
    return y, x


def _orientation(attributes: Attributes) -> tuple[float, ...]:
    cosines = attributes.numbers("ImageOrientationPatient", 6)
    x, y = np.asarray(cosines[:3]), np.asarray(cosines[3:])
    errors = (x @ x - 1, y @ y - 1, x @ y)
    if max(map(abs, errors)) > _COSINE_TOLERANCE:
        found = ", ".join(f"{cosine:g}" for cosine in cosines)
        wanted = "2 unit vectors at right angles"
        raise attributes.refused("ImageOrientationPatient", found, wanted)
    return cosines
