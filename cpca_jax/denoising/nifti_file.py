"""The denoising of NIfTI volumes to new NIfTI volumes with the same names."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from cpca_jax.data.collections import nifti
from cpca_jax.data.dicom import slice_file
from cpca_jax.data.listing import Listing
from cpca_jax.denoising import dicom_series
from cpca_jax.denoising.before_after import Effect, EffectMeter
from cpca_jax.denoising.denoiser import Denoiser, denoise_volume
from cpca_jax.denoising.slab import fitting_slab
from cpca_jax.errors import VolumeError
from cpca_jax.runtime import logs

Volume = Shaped[np.ndarray, "z y x"]
# What the network and the meter see outside the scan: below the HU of every tissue, so that it
# counts as none.
_OUTSIDE_HU = -3024.0


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
    model: Denoiser, path: Path, written: Path, *, slab: int, made: str
) -> tuple[dict[str, Any], list[dicom_series.Shown]]:
    """Denoise one volume; at most three copies of it are in memory.

    Args:
        model: The denoiser.
        path: The .nii or .nii.gz file to read, in HU.
        written: The file to write.
        slab: The number of slices at once; 0 for as many as the device's memory holds.
        made: What the written file says of its making.

    Returns:
        The measurements with the warnings, and a few slices before and after.

    Raises:
        VolumeError: `path` cannot be used, or `written` cannot be written.
    """
    start = time.perf_counter()
    source = nifti.read_nifti(path, gaps=True)
    for doubt in source.doubts:
        logs.say(f"warning: {path.name}: {doubt}")
    volume_hu, gaps = _filled(source.volume_hu)
    logs.say(f"  {path.name}: {len(volume_hu)} slices")
    batch = slab or fitting_slab(model, volume_hu.shape[1:])
    denoised = denoise_volume(model, volume_hu, batch=batch)
    if gaps.size:
        denoised[gaps] = source.volume_hu[gaps]
    clipped = nifti.write_nifti(written, denoised, like=path, made=made, gaps=bool(gaps.size))
    effect, shown = _compared(volume_hu, _filled(denoised)[0])
    seconds = time.perf_counter() - start
    return {
        "slices_per_second": round(len(volume_hu) / seconds, 3),
        "clipped_pixels": clipped,
        "warnings": list(source.doubts),
        "effect": dataclasses.asdict(effect),
    }, shown


def measure_file(path: Path, written: Path) -> tuple[dict[str, Any], list[dicom_series.Shown]]:
    """Measure a volume that was denoised before.

    Args:
        path: The source.
        written: The denoised volume.

    Returns:
        The measurements that do not need the network, and a few slices before and after.

    Raises:
        VolumeError: One of the two cannot be read, or they differ in shape.
    """
    source, denoised = (nifti.read_nifti(one, gaps=True) for one in (path, written))
    if source.shape != denoised.shape:
        raise VolumeError(f"{written.name}: has {denoised.shape}, must have {source.shape}")
    effect, shown = _compared(_filled(source.volume_hu)[0], _filled(denoised.volume_hu)[0])
    return {"warnings": list(source.doubts), "effect": dataclasses.asdict(effect)}, shown


def _filled(volume_hu: Volume) -> tuple[Volume, Bool[np.ndarray, "..."]]:
    """Return the volume with air where it is not finite, and those places; none: an empty array.

    The network's convolutions would spread one such voxel over its neighbours.
    """
    gaps = ~np.isfinite(volume_hu) if volume_hu.dtype.kind == "f" else np.empty(0, bool)
    if not gaps.any():
        return volume_hu, np.empty(0, bool)
    return np.where(gaps, np.float32(_OUTSIDE_HU), volume_hu), gaps


def _compared(before_hu: Volume, after_hu: Volume) -> tuple[Effect, list[dicom_series.Shown]]:
    meter, places = EffectMeter(), dicom_series.shown_places(len(before_hu))
    shown = []
    for z, (before, after) in enumerate(zip(before_hu, after_hu, strict=True)):
        before, after = before.astype(np.float32), after.astype(np.float32)
        meter.add(before, after)
        if z in places:
            shown.append((z, before, after))
    return meter.effect(), shown
