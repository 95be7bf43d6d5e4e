"""Small CT series, written with pydicom: material of the data tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def ct_slice(pixels_hu: np.ndarray, *, position_mm: float = 0.0, **changes: Any) -> Dataset:
    """Return a valid CT data set; `changes` set attributes, or remove those that are None."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName = "Marker^Secret"
    dataset.PatientID = "SECRET-4711"
    dataset.ConvolutionKernel = "B30f"
    dataset.SliceThickness = 3.0
    dataset.ImagePositionPatient = [-100.0, -90.0, position_mm]
    dataset.ImageOrientationPatient = list(AXIAL)
    dataset.PixelSpacing = [0.75, 0.75]
    dataset.Rows, dataset.Columns = pixels_hu.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope = 1
    dataset.RescaleIntercept = -1024
    dataset.RescaleType = "HU"
    stored = np.clip(pixels_hu.astype(np.int32) + 1024, 0, 4095).astype("<u2")
    dataset.PixelData = stored.tobytes()
    for name, value in changes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


def save(dataset: Dataset, path: Path, *, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """Write a data set with preamble and file meta information.

    Pixels are compressed if `syntax` is a compressed one, unless they are compressed already.
    """
    meta = FileMetaDataset()
    compress = syntax.is_encapsulated and not dataset["PixelData"].is_undefined_length
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if compress else syntax
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or generate_uid()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not syntax.is_little_endian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    written = FileDataset(path, dataset, preamble=b"\0" * 128, file_meta=meta)
    if compress:
        written.compress(syntax, generate_instance_uid=False)
    pydicom.dcmwrite(path, written, enforce_file_format=True)
    return path


def write_slice(path: Path, pixels_hu: np.ndarray, **changes: Any) -> Path:
    """Write one slice; see `ct_slice`."""
    return save(ct_slice(pixels_hu, **changes), path)


def write_series(
    folder: Path,
    volume_hu: np.ndarray,
    *,
    positions_mm: Sequence[float] | None = None,
    **changes: Any,
) -> Path:
    """Write a volume (z y x), by default every 2 mm, under names that sort the other way."""
    count = len(volume_hu)
    positions = [2.0 * z for z in range(count)] if positions_mm is None else positions_mm
    for z, (pixels, position) in enumerate(zip(volume_hu, positions, strict=True)):
        name = f"CT.{count - z:04d}.IMA"
        write_slice(folder / name, pixels, position_mm=float(position), **changes)
    return folder


def body(slices: int, *, noise_hu: float, seed: int = 0, size: int = 48) -> np.ndarray:
    """Return a disc of soft tissue in air (z y x), with white noise that depends on `seed`."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    disc = np.where(np.hypot(y, x) < 0.4 * size, 40.0, -1000.0)
    levels = 5.0 * np.arange(slices)[:, None, None]
    noise = np.random.default_rng(seed).normal(0.0, noise_hu, (slices, size, size))
    return np.rint(disc + levels * (disc > 0) + noise)


def write_pair(
    patient: Path,
    *,
    slices: int = 5,
    full_hu: float = 10.0,
    low_hu: float = 20.0,
    **changes: Any,
) -> Path:
    """Write `patient`/full_3mm and `patient`/quarter_3mm with these noise levels."""
    for folder, noise_hu, seed in (("full_3mm", full_hu, 1), ("quarter_3mm", low_hu, 2)):
        write_series(patient / folder, body(slices, noise_hu=noise_hu, seed=seed), **changes)
    return patient
