"""The attributes that a CT slice must have before its pixels may be taken for HU.

The rules are those of DICOM's CT image (PS3.3 C.8.2.1) as far as numbers depend on them: a
missing or odd rescale, an inverted grey scale, a second frame or a lost geometry would go
through a reader silently and come out as a plausible, wrong volume.
"""

import dataclasses
import os
from pathlib import Path

import numpy as np

from cpca_jax.data import folders as folder_names
from cpca_jax.data.dicom.attributes import Attributes
from cpca_jax.data.scan import plain_kernel
from cpca_jax.errors import DicomError, LocalizerError, NotCTError

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Padding lies below the HU of tissue, or above; a value in between is tissue, whatever the file
# says about it.
_TISSUE_HU = (-500.0, 1500.0)
_ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
# The largest error of direction cosines in unit length and right angle; files round them.
_COSINE_TOLERANCE = 1e-3
# Beyond what any scanner writes; a file that claims more would claim gigabytes.
_LENGTHS = range(1, 8193)
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Allowances:
    """The facts that a user vouches for where the files themselves say nothing.

    Attributes:
        assume_hu: whether rescaled values are HU although RescaleType names another unit.
        order_by_instance: whether, where ImagePositionPatient or ImageOrientationPatient is
            missing, InstanceNumber gives the order, the orientation is axial, and the step is
            that of SpacingBetweenSlices, SliceThickness or else 1 mm.
    """

    assume_hu: bool = False
    order_by_instance: bool = False


STRICT = Allowances()


@dataclasses.dataclass(frozen=True)
class Header:
    """The checked attributes of a CT slice, without its pixels.

    Attributes:
        path: the file.
        folders: the names of the folders that it lies in, outermost first; not for messages.
        patient_key: the name for the patient, see `folders.patient_key`.
        series_key: the digest of SeriesInstanceUID, 16 hexadecimal digits; "" where blank.
        sop_key: the digest of SOPInstanceUID, likewise.
        image_type: the values of ImageType, in upper case.
        kernel: the convolution kernel; several values are joined by "/" ("Br38f/3": the second
            is the strength of an iterative reconstruction); "unknown" where blank.
        thickness_mm: the slice thickness; 0 where the file does not say.
        shape: (rows, columns).
        spacing_mm: the distances of rows and of columns (y, x).
        orientation: the direction cosines of x, then of y, in patient coordinates.
        origin_mm: the centre of the first pixel in patient coordinates.
        slope: RescaleSlope, HU per stored unit.
        intercept: RescaleIntercept, HU.
        lossy: whether the pixels were ever compressed with loss.
        padding: the lowest and the highest stored value that stand for pixels outside the scan;
            None where there are none, or where tissue has the same HU.
        ambiguous_padding: whether such values were stated and not believed.
        study_key: the digest of StudyInstanceUID, 16 hexadecimal digits; "" where blank.
        bits: BitsStored; higher bits of a stored value are not part of the image.
        signed: whether stored values are signed.
        allowances: the attributes that were allowed to be missing when this was read.
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
    padding: tuple[int, int] | None = None
    ambiguous_padding: bool = False
    study_key: str = ""
    bits: int = 16
    signed: bool = True
    allowances: Allowances = STRICT

    @property
    def position_mm(self) -> float:
        """The slice's place along its normal, which is the cross product of x and y."""
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        return float(normal @ np.asarray(self.origin_mm))


def check(
    attributes: Attributes,
    path: Path,
    *,
    root: Path | None = None,
    allowances: Allowances = STRICT,
) -> Header:
    """Check a file's attributes and collect them.

    Args:
        attributes: the file's attributes.
        path: the file.
        root: the folder of the collection that `path` lies in; only its own name and those
            of the folders below it may name the patient or the dose level. Default: all
            folders of the path.
        allowances: the attributes that may be missing.

    Returns:
        The checked header.

    Raises:
        DicomError: the file is no CT image, has several frames or colour, has no HU or no geometry,
            or is damaged.
    """
    _require_single_ct_image(attributes)
    bits, signed = _storage(attributes)
    slope, intercept = _rescale(attributes, allowances.assume_hu)
    orientation, origin = _place(attributes, allowances.order_by_instance)
    padding = _padding(attributes, signed)
    believed = padding and _is_outside_tissue(*(end * slope + intercept for end in padding))
    folders = _folders(path, root)
    return Header(
        path=path,
        folders=folders,
        patient_key=folder_names.patient_key(attributes.text("PatientID"), folders),
        series_key=attributes.digest("SeriesInstanceUID"),
        sop_key=attributes.digest("SOPInstanceUID"),
        study_key=attributes.digest("StudyInstanceUID"),
        image_type=_image_type(attributes),
        kernel=plain_kernel(attributes.text("ConvolutionKernel")),
        thickness_mm=_thickness(attributes),
        shape=(attributes.whole("Rows", _LENGTHS), attributes.whole("Columns", _LENGTHS)),
        spacing_mm=_spacing(attributes),
        orientation=orientation,
        origin_mm=origin,
        slope=slope,
        intercept=intercept,
        padding=padding if believed else None,
        ambiguous_padding=bool(padding and not believed),
        bits=bits,
        signed=signed,
        lossy=attributes.text("LossyImageCompression") == "01",
        allowances=allowances,
    )


def _folders(path: Path, root: Path | None) -> tuple[str, ...]:
    parent = Path(os.path.abspath(path)).parent
    above = Path(os.path.abspath(root)).parent if root else Path(parent.anchor)
    return parent.relative_to(above).parts


def _image_type(attributes: Attributes) -> tuple[str, ...]:
    return tuple(str(value).upper() for value in attributes.values("ImageType"))


def _require_single_ct_image(attributes: Attributes) -> None:
    if "LOCALIZER" in _image_type(attributes):
        raise LocalizerError(f"{attributes.name}: is a localizer")
    if not attributes.values("Modality"):
        raise attributes.refused("Modality", "missing", "CT")
    if attributes.text("SOPClassUID").startswith(_SECONDARY_CAPTURE):
        raise NotCTError(f"{attributes.name}: is a secondary capture; not a CT image")
    try:
        attributes.require("Modality", "CT")
        # An inverted or a missing grey scale is a fault of a CT image, which `_storage` reports.
        if attributes.text("PhotometricInterpretation") not in {"MONOCHROME1", ""}:
            _require_grey(attributes)
    except DicomError as error:
        raise NotCTError(f"{error}; not a CT image") from None
    several = attributes.values("NumberOfFrames") and attributes.number("NumberOfFrames") != 1
    if several or attributes.text("SOPClassUID") == _ENHANCED_CT:
        raise attributes.refused(
            "NumberOfFrames",
            attributes.text("NumberOfFrames") or "missing in an enhanced CT image",
            "1: convert to single frames (one file a slice)",
        )


def _require_grey(attributes: Attributes) -> None:
    attributes.whole("SamplesPerPixel", range(1, 2))
    attributes.require("PhotometricInterpretation", "MONOCHROME2")


def _storage(attributes: Attributes) -> tuple[int, bool]:
    """Return BitsStored of a 16-bit grey image, and whether its values are signed."""
    _require_grey(attributes)
    attributes.whole("BitsAllocated", range(16, 17))
    bits = attributes.whole("BitsStored", range(1, 17))
    attributes.whole("HighBit", range(bits - 1, bits))
    return bits, attributes.whole("PixelRepresentation", range(2)) == 1


def _rescale(attributes: Attributes, assume_hu: bool) -> tuple[float, float]:
    slope = attributes.number("RescaleSlope")
    if slope <= 0:
        raise attributes.refused("RescaleSlope", f"{slope:g}", "a positive number")
    if not assume_hu:
        attributes.require("RescaleType", "HU", optional=True)
    return slope, attributes.number("RescaleIntercept")


def _padding(attributes: Attributes, signed: bool) -> tuple[int, int] | None:
    """Return the stored values outside the scan (PS3.3 C.7.5.1.1.2), in the pixels' own sign.

    Writers disagree on the sign of these two attributes, so the sixteen bits are interpreted anew.
    """
    names = ("PixelPaddingValue", "PixelPaddingRangeLimit")
    stated = [int(attributes.number(name)) & 0xFFFF for name in names if attributes.values(name)]
    if not attributes.values("PixelPaddingValue"):
        return None
    ends = [end - 0x10000 if signed and end >= 0x8000 else end for end in stated]
    return min(ends), max(ends)


def _is_outside_tissue(low_hu: float, high_hu: float) -> bool:
    return high_hu <= _TISSUE_HU[0] or low_hu >= _TISSUE_HU[1]


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


def _place(
    attributes: Attributes, order_by_instance: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return orientation and origin."""
    names = ("ImageOrientationPatient", "ImagePositionPatient")
    if order_by_instance and not all(attributes.values(name) for name in names):
        steps = ("SpacingBetweenSlices", "SliceThickness")
        known = [abs(attributes.number(step)) for step in steps if attributes.values(step)]
        place = attributes.number("InstanceNumber") * next((s for s in known if s > 0), 1.0)
        return _AXIAL, (0.0, 0.0, place)
    return _orientation(attributes), attributes.numbers("ImagePositionPatient", 3)


def _orientation(attributes: Attributes) -> tuple[float, ...]:
    cosines = attributes.numbers("ImageOrientationPatient", 6)
    x, y = np.asarray(cosines[:3]), np.asarray(cosines[3:])
    errors = (x @ x - 1, y @ y - 1, x @ y)
    if max(map(abs, errors)) > _COSINE_TOLERANCE:
        found = ", ".join(f"{cosine:g}" for cosine in cosines)
        wanted = "2 unit vectors at right angles"
        raise attributes.refused("ImageOrientationPatient", found, wanted)
    return cosines
