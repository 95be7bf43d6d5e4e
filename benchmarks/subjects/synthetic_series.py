"""Write a synthetic CT series, as input for denoise.py."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

_INTERVAL_MM, _PIXEL_MM = 2.0, 0.75
_STORED_ZERO_HU = -1024


def write_series(folder: Path, *, slices: int, edge: int, compressed: bool) -> Path:
    """Write a disc of soft tissue in air with noise, one DICOM file for each slice.

    Args:
        folder: a new folder.
        slices: their number.
        edge: rows and columns of a slice.
        compressed: as lossless JPEG 2000; otherwise uncompressed.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    y, x = np.mgrid[:edge, :edge] - (edge - 1) / 2
    clean = np.where(np.hypot(y, x) < 0.4 * edge, 40.0, -1000.0)
    series = generate_uid()
    for z in range(slices):
        image_hu = clean + random.normal(0.0, 20.0, clean.shape)
        one = _slice(image_hu, z, series)
        if compressed:
            one.compress(JPEG2000Lossless, generate_instance_uid=False)
        pydicom.dcmwrite(folder / f"{z:04d}.dcm", one, enforce_file_format=True)
    return folder


def _slice(image_hu: np.ndarray, z: int, series: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    one = FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta)
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    one.SeriesInstanceUID = one.StudyInstanceUID = one.FrameOfReferenceUID = series
    one.Modality, one.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.PatientName, one.PatientID = "Benchmark", "benchmark"
    one.ConvolutionKernel, one.SliceThickness = "B30f", _INTERVAL_MM
    one.ImagePositionPatient = [-100.0, -100.0, z * _INTERVAL_MM]
    one.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    one.PixelSpacing = [_PIXEL_MM, _PIXEL_MM]
    one.Rows, one.Columns = image_hu.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    one.RescaleSlope, one.RescaleIntercept, one.RescaleType = 1, _STORED_ZERO_HU, "HU"
    stored = np.clip(np.rint(image_hu) - _STORED_ZERO_HU, 0, 4095).astype("<u2")
    one.PixelData = stored.tobytes()
    return one
