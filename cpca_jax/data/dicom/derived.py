"""Denoised slices, written as derived DICOM images.

A derived image whose pixels differ in a way expected to affect its reading is an instance of its
own; it says how and from which images it was made (PS3.3 C.7.6.1.1.2, C.7.6.1.1.4, C.12.4.1.1).
Everything that describes the scan, its geometry and the patient is kept as it is. No code
accompanies the text of the derivation: CID 7203 has none for noise reduction, and the nearest
one, smoothing, would be wrong.
"""

import dataclasses
import datetime
import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Int32
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian

from cpca_jax.data.dicom.attributes import Attributes, Reported
from cpca_jax.data.dicom.bounded import BoundedReader
from cpca_jax.data.dicom.header import Header
from cpca_jax.errors import DicomError
from cpca_jax.runtime.circumstances import disk_errors

# Attributes of the source's pixels: their values, their derivation, and signatures over them.
_STALE = (
    "SourceImageSequence",
    "DerivationCodeSequence",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "IconImageSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelDataProviderURL",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
)
# JPEG baseline and extended always lose; the other lossy syntaxes must say so themselves.
_ALWAYS_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_SERIES_NUMBER_STEP = 1000
_HIGHEST_SERIES_NUMBER = 2**31 - 1 - _SERIES_NUMBER_STEP
_LONGEST_DESCRIPTION = 64  # of the value representation LO
_IMPLEMENTATION = "2.25.126417207935184361826120923843187130421"


# The SOP class and the SOP instance of an image.
Reference = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Derivation:
    """The origin of denoised slices.

    Attributes:
        software: the name and version of this program.
        model: the name of the trained model; letters, digits, ".", "_", "-" and blanks.
        digest: the digest of the model's weights and configuration; every new UID depends on it,
            so that a second run gives the same UIDs.
        text: one sentence for DerivationDescription.
        created: the date and time of creation that are written.
        keep_private: whether private elements are kept.
    """

    software: str
    model: str
    digest: str
    text: str
    created: datetime.datetime
    keep_private: bool = False


@dataclasses.dataclass(frozen=True)
class DerivedSeries:
    """The properties that all slices of a derived series share.

    Attributes:
        derivation: the origin of the slices.
        group: a text that tells this series from others under the same SeriesInstanceUID.
        fallback: a text that stands for the series where its UIDs are missing and are made up
            (`series_checks.check` refuses such a series unless the user asks for it).
    """

    derivation: Derivation
    group: str
    fallback: str


def derived_uid(*parts: str) -> str:
    """Return a UID under the root for UUIDs (PS3.5 B.2) that depends on `parts` alone."""
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def read_reference(source: Header) -> Reference | None:
    """Return the reference of other images to a slice; None where it has no SOPInstanceUID.

    Raises:
        DicomError: the file cannot be read again.
    """
    if not source.sop_key:
        return None
    with Reported(source.path.name, "SOPInstanceUID"):
        tags = ["SOPClassUID", "SOPInstanceUID"]
        with BoundedReader(source.path) as file:
            item = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
        return str(item.SOPClassUID), str(item.SOPInstanceUID)


def write_derived(
    path: Path,
    series: DerivedSeries,
    source: Header,
    stored: Int32[np.ndarray, "y x"],
    *,
    used: Sequence[Reference],
) -> None:
    """Write one denoised slice.

    Args:
        path: the file to write; its folder exists, the file does not.
        series: the properties that it shares with its neighbours.
        source: the slice that it replaces.
        stored: its stored values (y x), within BitsStored.
        used: the slices that it was made from, as far as they have a SOPInstanceUID.

    Raises:
        DicomError: the source cannot be read again, lacks a UID, or the disk is full.
    """
    with Reported(source.path.name, "the file"):
        with BoundedReader(source.path) as file:
            dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        _derive(dataset, series, source, used)
        if used:
            dataset.SourceImageSequence = Items([_source(reference) for reference in used])
        dtype = "<i2" if source.signed else "<u2"
        dataset.PixelData = stored.astype(dtype).tobytes()
        dataset["PixelData"].VR = "OW"
    with Reported(path.name, "what was to be written"), disk_errors(path.name, error=DicomError):
        _save(dataset, path, series.derivation)


def _derive(
    dataset: FileDataset, series: DerivedSeries, source: Header, used: Sequence[Reference]
) -> None:
    """Turn the source's attributes into those of the derived image."""
    derivation = series.derivation
    _identify(dataset, series, source, used)
    values = [str(value) for value in source.image_type[1:]] or ["PRIMARY"]
    dataset.ImageType = ["DERIVED", *values]
    dataset.DerivationDescription = derivation.text
    _lossy(dataset)
    dataset.ContributingEquipmentSequence = Items([
        *dataset.get("ContributingEquipmentSequence", []),
        _equipment(derivation),
    ])
    date, time = f"{derivation.created:%Y%m%d}", f"{derivation.created:%H%M%S}"
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    dataset.ContentDate, dataset.ContentTime = date, time
    dataset.BitsAllocated, dataset.SamplesPerPixel = 16, 1
    for name in _STALE:
        if name in dataset:
            delattr(dataset, name)
    _overlays(dataset)
    if not derivation.keep_private:
        dataset.remove_private_tags()


def _identify(
    dataset: Dataset, series: DerivedSeries, source: Header, used: Sequence[Reference]
) -> None:
    """Set new UIDs of the image and of its series, and the number and description of the series."""
    derivation, name = series.derivation, source.path.name

    def known(attribute: str, otherwise: str) -> str:
        uid = str(dataset.get(attribute) or "").strip()
        return uid or derived_uid(attribute, otherwise)

    visit = ("PatientID", "StudyDate", "StudyTime", "AccessionNumber", "FrameOfReferenceUID")
    study = "\n".join(str(dataset.get(attribute) or "") for attribute in visit)
    dataset.StudyInstanceUID = known("StudyInstanceUID", study.strip() or series.fallback)
    image = known("SOPInstanceUID", f"{series.fallback} {source.position_mm:.3f}")
    origin = known("SeriesInstanceUID", series.fallback)
    made = (derivation.software, derivation.digest)
    # The UID depends on the neighbours, too: other neighbours give another result for this slice.
    dataset.SOPInstanceUID = derived_uid("image", image, *(uid for _, uid in used), *made)
    dataset.SeriesInstanceUID = derived_uid("series", origin, series.group, *made)
    dataset.SeriesNumber = _series_number(dataset)
    added = f"denoised, {derivation.model}"[: _LONGEST_DESCRIPTION - 3]
    before = Attributes(name, dataset).text("SeriesDescription")
    room = _LONGEST_DESCRIPTION - len(added) - 3
    dataset.SeriesDescription = f"{before[:room].strip()} | {added}" if before else added


def _series_number(dataset: Dataset) -> int:
    """Return the source's number plus 1000; 1000 where that number is missing or too large."""
    try:
        number = int(dataset.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        number = 0
    return number % _HIGHEST_SERIES_NUMBER + _SERIES_NUMBER_STEP


def _lossy(dataset: FileDataset) -> None:
    """Mark the image as lossy where its source was: loss is never undone (PS3.3 C.7.6.1.1.5)."""
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax in _ALWAYS_LOSSY:
        dataset.LossyImageCompression = "01"


def _overlays(dataset: FileDataset) -> None:
    """Drop overlays that would be wrong in the new file.

    Overlays in the unused bits of the image were not copied, and those of a big endian file
    are words whose bytes nothing would swap.
    """
    big = not dataset.original_encoding[1]
    tags = [tag for tag in dataset.keys() if 0x6000 <= tag.group <= 0x60FF]  # noqa: SIM118
    for tag in tags:
        if big or (tag.group, 0x3000) not in dataset:
            del dataset[tag]


def _source(reference: Reference) -> Dataset:
    """Return an item of SourceImageSequence."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    purpose = _code("121322", "Source image for image processing operation")
    item.PurposeOfReferenceCodeSequence = Items([purpose])
    return item


def _equipment(derivation: Derivation) -> Dataset:
    """Return the item of ContributingEquipmentSequence for this program."""
    item = Dataset()
    item.Manufacturer = derivation.software.split()[0]
    item.ManufacturerModelName = derivation.model[:_LONGEST_DESCRIPTION]
    item.SoftwareVersions = derivation.software
    item.ContributionDescription = f"weights and configuration {derivation.digest}"
    item.PurposeOfReferenceCodeSequence = Items([_code("109103", "Modifying Equipment")])
    return item


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _save(dataset: Dataset, path: Path, derivation: Derivation) -> None:
    """Write a file with new meta information and an empty preamble, readable by its owner only."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    meta.ImplementationVersionName = derivation.software.replace(" ", "_")[:16]
    written = FileDataset(path, dataset, preamble=b"\0" * 128, file_meta=meta)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        # Not save_as, which refuses big endian sources. Here numbers are converted; words of pixels
        # and overlays, which would not be, are replaced or left out.
        pydicom.dcmwrite(file, written, enforce_file_format=True)
        file.flush()
        os.fsync(file.fileno())
