"""Small DICOM series, denoisers for them, and their outputs: material of the denoising tests."""

import datetime

import fake_dicom
import jax
import numpy as np
import pydicom

from cpca_jax.denoising import denoiser
from cpca_jax.denoising.denoiser import Denoiser, load_run
from cpca_jax.models import build_generator
from cpca_jax.training.networks import Networks, PatchGeometry, init_generator
from cpca_jax.units import Window

IDENTITY = load_run(denoiser.IDENTITY)
CREATED = datetime.datetime(2026, 1, 31, 12, 30)
STUDY = {"StudyInstanceUID": "1.2.3"}


def network(slices, name="net"):
    """Return an untrained network, which changes every pixel."""
    module = build_generator("cpca", slices=slices, features=4)
    networks = Networks(module, None, PatchGeometry(slices, 20))
    params, _ = init_generator(networks, jax.random.key(1))
    return Denoiser(name, module, params, Window(-300, 300), digest=f"{slices:016d}")


def write(folder, stored, **changes):
    """Write a series of these stored values (z y x)."""
    for z, image in enumerate(stored):
        signed = changes.get("PixelRepresentation", 0)
        changes["PixelData"] = image.astype("<i2" if signed else "<u2").tobytes()
        dataset = fake_dicom.ct_slice(image * 0.0, position_mm=2.0 * z, **(STUDY | changes))
        fake_dicom.save(dataset, folder / f"{z}")
    return folder


def out_series(output):
    """Return the data sets of the only denoised series, in the order of their names."""
    (folder,) = [path for path in output.iterdir() if path.is_dir()]
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def random_stored(low, high, seed=0, size=24):
    return np.random.default_rng(seed).integers(low, high + 1, (3, size, size))
