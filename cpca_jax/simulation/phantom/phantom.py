"""Abdominal phantoms: noiseless slices with known lesions, a different person for each seed.

They serve tests, the demonstration without data, and measurements that need the truth. The
shapes of `anatomy` are bent by smooth random fields, painted over each other slice by slice
and blurred by the point spread of a B30f-like kernel.
"""

import dataclasses
import math

import numpy as np
import scipy.fft
import scipy.ndimage
from jaxtyping import Bool, Float32

from cpca_jax.errors import InputError
from cpca_jax.simulation.phantom.anatomy import Anatomy, draw_anatomy
from cpca_jax.simulation.phantom.painting import Canvas
from cpca_jax.simulation.phantom.shapes import Grid, SmoothField

FIELD_OF_VIEW_MM = 384.0
# The kernel's modulation transfer is a Hann window that is 0.5 at 0.35/mm (B30f).
_CUTOFF_PER_MM = 0.7
# The distance by which each field bends shapes, and its correlation length, mm.
_BENDS = ((4.0, 55.0), (1.0, 9.0))
# The liver tissue that must be left around a lesion.
_CLEARANCE_MM = 2.0


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A sphere in the liver.

    Attributes:
        z: The slice of the centre.
        y: The row of the centre.
        x: The column of the centre.
        radius_mm: The radius, mm.
        contrast_hu: The value inside minus the value without the lesion, HU.
    """

    z: int
    y: int
    x: int
    radius_mm: float
    contrast_hu: float


@dataclasses.dataclass(frozen=True)
class Phantom:
    """A noiseless volume and its lesions.

    Attributes:
        truth_hu: The volume, (z y x), HU.
        lesions: All lesions in the volume.
        spacing_mm: The pixel size, mm.
        interval_mm: The distance between two slices, mm.
    """

    truth_hu: Float32[np.ndarray, "z y x"]
    lesions: tuple[Lesion, ...]
    spacing_mm: float
    interval_mm: float


def make_phantom(
    seed: int,
    *,
    slices: int = 12,
    size: int = 512,
    spacing_mm: float | None = None,
    interval_mm: float = 2.0,
) -> Phantom:
    """Make a random abdomen.

    Args:
        seed: The seed of the person; the same seed gives the same array.
        slices: The number of slices.
        size: The number of pixels along each side.
        spacing_mm: The pixel size, mm; by default such that the image shows 384 mm.
        interval_mm: The distance between two slices, mm.

    Returns:
        The phantom; its values lie between -1000 and about 800 HU.

    Raises:
        InputError: A number that is not positive.
    """
    spacing = FIELD_OF_VIEW_MM / max(size, 1) if spacing_mm is None else spacing_mm
    if min(slices, size, spacing, interval_mm) <= 0:
        raise InputError(
            f"phantom: {slices} slices of {size} pixels, {spacing:g} mm, interval "
            f"{interval_mm:g} mm; all must be above 0"
        )
    body, members = np.random.SeedSequence(seed).spawn(2)
    painter = _Painter(np.random.default_rng(body), slices, size, spacing, interval_mm)
    painted = [painter.paint(index) for index in range(slices)]
    plain = np.stack([hu for hu, _ in painted])
    parenchyma = np.stack([inside for _, inside in painted])
    lesions = place_lesions(np.random.default_rng(members), parenchyma, spacing, interval_mm)
    plain += lesion_contrast(lesions, plain.shape, spacing, interval_mm)
    return Phantom(blur(plain, spacing), lesions, spacing, interval_mm)


class _Painter:
    """A painter of the slices of one person."""

    def __init__(
        self,
        random: np.random.Generator,
        slices: int,
        size: int,
        spacing_mm: float,
        interval_mm: float,
    ) -> None:
        self.anatomy: Anatomy = draw_anatomy(random)
        self.z = (np.arange(slices) - (slices - 1) / 2) * interval_mm
        self.axis = ((np.arange(size) - (size - 1) / 2) * spacing_mm).astype(np.float32)
        self.spacing = spacing_mm

        def field(correlation_mm: float) -> SmoothField:
            return SmoothField(random, self.z, self.axis, correlation_mm)

        self.bends = [(length, field(scale), field(scale)) for length, scale in _BENDS]
        self.fine, self.middle, self.coarse = field(1.3), field(3.5), field(14.0)

    def paint(self, index: int) -> tuple[Grid, Bool[np.ndarray, "y x"]]:
        """Paint a slice without lesions or blur; return it and a mask of liver without vessels."""
        x, y = np.broadcast_arrays(self.axis[None, :], self.axis[:, None])
        for amount, across, down in self.bends:
            x = x + np.float32(amount) * across.at(index)
            y = y + np.float32(amount) * down.at(index)
        texture = np.float32(0.75) * self.fine.at(index) + np.float32(0.66) * self.middle.at(index)
        canvas = Canvas(x, y, float(self.z[index]), self.spacing, texture, self.coarse.at(index))
        canvas.paint(self.anatomy)
        return canvas.hu, canvas.parenchyma


def place_lesions(
    random: np.random.Generator,
    parenchyma: Bool[np.ndarray, "z y x"],
    spacing_mm: float,
    interval_mm: float,
) -> tuple[Lesion, ...]:
    """Draw random lesions that lie in the liver, clear of its vessels, its edge and each other.

    Args:
        random: The source of the draw.
        parenchyma: A mask (z y x) of liver without vessels.
        spacing_mm: The pixel size, mm.
        interval_mm: The distance between two slices, mm.

    Returns:
        Up to one lesion per slice and at least four where there is room, with radii of 2 to 8 mm;
        four in five are darker than the liver by 15 to 60 HU, the others 20 to 40 HU brighter.
    """
    free = parenchyma.copy()
    lesions: list[Lesion] = []
    for _ in range(max(4, len(free))):
        radius = float(random.uniform(2, 8))
        dark = random.uniform() < 0.8
        contrast = -random.uniform(15, 60) if dark else random.uniform(20, 40)
        z = int(random.integers(len(free)))
        reach = int(radius / interval_mm)
        room = free[max(0, z - reach) : z + reach + 1].all(axis=0)
        depth = scipy.ndimage.distance_transform_edt(room) * spacing_mm
        rows, columns = np.nonzero(depth > radius + _CLEARANCE_MM)
        if not rows.size:
            continue
        pick = int(random.integers(rows.size))
        lesion = Lesion(z, int(rows[pick]), int(columns[pick]), radius, float(contrast))
        lesions.append(lesion)
        box, inside = _around(lesion, free.shape, spacing_mm, interval_mm)
        free[box] &= inside < -_CLEARANCE_MM
    return tuple(lesions)


def lesion_contrast(
    lesions: tuple[Lesion, ...],
    shape: tuple[int, int, int],
    spacing_mm: float,
    interval_mm: float,
) -> Float32[np.ndarray, "z y x"]:
    """Return the values that lesions add to a volume before blur, HU."""
    total = np.zeros(shape, np.float32)
    for lesion in lesions:
        box, depth = _around(lesion, shape, spacing_mm, interval_mm)
        total[box] += np.float32(lesion.contrast_hu) * np.clip(depth / spacing_mm + 0.5, 0, 1)
    return total


def _around(
    lesion: Lesion, shape: tuple[int, ...], spacing_mm: float, interval_mm: float
) -> tuple[tuple[slice, slice, slice], Float32[np.ndarray, "z y x"]]:
    """Return the box around a lesion and the depth of every voxel in it, mm; negative outside."""
    bounds, squares = [], []
    steps = (interval_mm, spacing_mm, spacing_mm)
    for middle, step, count in zip((lesion.z, lesion.y, lesion.x), steps, shape, strict=True):
        reach = int((lesion.radius_mm + _CLEARANCE_MM) / step) + 2
        bounds.append(slice(max(0, middle - reach), min(count, middle + reach + 1)))
        squares.append(((np.arange(bounds[-1].start, bounds[-1].stop) - middle) * step) ** 2)
    distance = np.sqrt(squares[0][:, None, None] + squares[1][:, None] + squares[2])
    depth = (lesion.radius_mm - distance).astype(np.float32)
    return (bounds[0], bounds[1], bounds[2]), depth


def blur(volume: Float32[np.ndarray, "z y x"], spacing_mm: float) -> Float32[np.ndarray, "z y x"]:
    """Blur each slice by the point spread of a B30f-like kernel, which keeps the sum."""
    rows, columns = volume.shape[1:]
    down = scipy.fft.fftfreq(rows, spacing_mm)[:, None]
    across = scipy.fft.rfftfreq(columns, spacing_mm)[None, :]
    frequency = np.minimum(np.hypot(down, across) / _CUTOFF_PER_MM, 1)
    transfer = (0.5 + 0.5 * np.cos(math.pi * frequency)).astype(np.float32)
    blurred: Float32[np.ndarray, "z y x"] = scipy.fft.irfft2(
        scipy.fft.rfft2(volume) * transfer, s=(rows, columns)
    )
    return blurred
