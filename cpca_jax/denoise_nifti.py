"""NIfTI volumes in, denoised NIfTI volumes with the same names out."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from cpca_jax import denoise_series, logs
from cpca_jax.before_after import EffectMeter
from cpca_jax.data import nifti
from cpca_jax.data.listing import list_files
from cpca_jax.denoiser import TrainedModel, denoise_volume
from cpca_jax.errors import InputError


def find_volumes(source: Path) -> dict[str, Path]:
    """NIfTI files by base name: `source` itself, or all below it.

    Raises:
        InputError: two files of the same base name, which would be one output.
    """
    listed = list_files(source).paths if source.is_dir() else (source,)
    paths = [path for path in listed if nifti.is_nifti(path)]
    found = {path.name: path for path in paths}
    if len(found) < len(paths):
        double = sorted(p.name for p in paths if found[p.name] != p)[0]
        raise InputError(f"{double}: stands in two folders, every output has one name; rename it")
    return found


def denoise_file(
    model: TrainedModel, path: Path, written: Path, *, batch: int
) -> tuple[dict[str, Any], list[denoise_series.Shown]]:
    """Denoise one volume; at most three copies of it are in memory.

    Args:
        model: the denoiser.
        path: .nii or .nii.gz in HU.
        written: the new file.
        batch: slices at once.

    Returns:
        What was measured, and a few slices before and after.

    Raises:
        VolumeError: `path` cannot be used, or `written` cannot be written.
    """
    start = time.perf_counter()
    volume_hu = nifti.read_nifti(path).volume_hu
    logs.say(f"  {path.name}: {len(volume_hu)} slices")
    denoised = denoise_volume(model, volume_hu, batch=batch)
    clipped = nifti.write_nifti(written, denoised, like=path)
    meter, places = EffectMeter(), denoise_series.shown_places(len(volume_hu))
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
