"""The denoising of NIfTI volumes to new NIfTI volumes with the same names."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from cpca_jax.data.collections import nifti
from cpca_jax.data.dicom import slice_file
from cpca_jax.data.listing import Listing
from cpca_jax.denoising import dicom_series
from cpca_jax.denoising.before_after import EffectMeter
from cpca_jax.denoising.denoiser import Denoiser, denoise_volume
from cpca_jax.denoising.slab import fitting_slab
from cpca_jax.runtime import logs


def find_volumes(source: Path, listed: Listing) -> dict[str, Path]:
    """Return the NIfTI files to denoise.

    Args:
        source: A folder, or one file.
        listed: The files below the folder.

    Returns:
        The files by their path relative to `source`, or `source` itself if it is such a file. The
        result is empty where the folder also holds DICOM files: its volumes are then masks or
        exports of them.
    """
    if source.is_file():
        return {source.name: source} if nifti.is_nifti(source) else {}
    volumes = [path for path in listed.paths if nifti.is_nifti(path)]
    if volumes and any(map(slice_file.is_dicom, listed.paths)):
        return {}
    root = os.path.abspath(source)
    return {path.relative_to(root).as_posix(): path for path in volumes}


def denoise_file(
    model: Denoiser, path: Path, written: Path, *, slab: int
) -> tuple[dict[str, Any], list[dicom_series.Shown]]:
    """Denoise one volume; at most three copies of it are in memory.

    Args:
        model: The denoiser.
        path: The .nii or .nii.gz file to read, in HU.
        written: The file to write.
        slab: The number of slices at once; 0 for as many as the device's memory holds.

    Returns:
        The measurements, and a few slices before and after.

    Raises:
        VolumeError: `path` cannot be used, or `written` cannot be written.
    """
    start = time.perf_counter()
    volume_hu = nifti.read_nifti(path).volume_hu
    logs.say(f"  {path.name}: {len(volume_hu)} slices")
    batch = slab or fitting_slab(model, volume_hu.shape[1:])
    denoised = denoise_volume(model, volume_hu, batch=batch)
    clipped = nifti.write_nifti(written, denoised, like=path)
    meter, places = EffectMeter(), dicom_series.shown_places(len(volume_hu))
    shown = []
    for z, (before, after) in enumerate(zip(volume_hu, denoised, strict=True)):
        before = before.astype(np.float32)
        meter.add(before, after)
        if z in places:
            shown.append((z, before, after))
    seconds = time.perf_counter() - start
    return {
        "slices_per_second": round(len(volume_hu) / seconds, 3),
        "clipped_pixels": clipped,
        "effect": dataclasses.asdict(meter.effect()),
    }, shown
