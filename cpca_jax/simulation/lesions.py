"""Known lesions for task-based evaluation, and the regions of interest (ROIs) around them.

ROIs with and without a lesion lie at different places in flat soft tissue, so that no anatomy is
seen both with and without one. Volumes are (z y x) in HU.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Float32, Num

from cpca_jax.errors import InputError
from cpca_jax.registry import pick
from cpca_jax.simulation.phantom import phantom

# Half the edge of an ROI in radii of the largest lesion, as in the FDA's studies.
_ROI_REACH = 3.0
# The blur before the gradient is taken; noise would otherwise pass for a gradient.
_GRADIENT_BLUR_MM = 2.0
_FORMS = ("sphere", "disk")


@dataclasses.dataclass(frozen=True)
class LesionTask:
    """A lesion to be found.

    Attributes:
        radius_mm: the radius in mm.
        contrast_hu: the value inside minus the value without the lesion, before blur, HU.
        form: "sphere", or "disk" for a cylinder along z that is as long as it is wide.
    """

    radius_mm: float
    contrast_hu: float
    form: str = "sphere"

    def __post_init__(self) -> None:
        pick(dict.fromkeys(_FORMS), self.form, "form")
        if not self.radius_mm > 0:
            raise InputError(f"radius_mm: {self.radius_mm:g}; it must be above 0")

    def __str__(self) -> str:
        return f"{self.form} of {self.radius_mm:g} mm radius, {self.contrast_hu:+g} HU"


@dataclasses.dataclass(frozen=True)
class Place:
    """The middle of an ROI: slice, row and column."""

    z: int
    y: int
    x: int


@dataclasses.dataclass(frozen=True)
class Limits:
    """The definition of flat soft tissue over one ROI.

    Attributes:
        mean_hu: the lowest and the highest mean, HU.
        sd_hu: the largest standard deviation, HU; real noise counts.
        gradient_hu_per_mm: the largest mean gradient of the slice blurred by 2 mm.
    """

    mean_hu: tuple[float, float] = (0.0, 150.0)
    sd_hu: float = 60.0
    gradient_hu_per_mm: float = 6.0


@dataclasses.dataclass(frozen=True)
class Places:
    """Places with and without a lesion; no two ROIs overlap.

    Attributes:
        present: the places that get a lesion.
        absent: the places that stay as they are.
        roi_pixels: the edge of the ROIs in pixels, odd.
    """

    present: tuple[Place, ...]
    absent: tuple[Place, ...]
    roi_pixels: int


def roi_edge(tasks: Sequence[LesionTask], *, spacing_mm: float) -> int:
    """Return the edge, in pixels and odd, of ROIs that reach three radii of the largest lesion."""
    largest = max(task.radius_mm for task in tasks)
    return 2 * math.ceil(_ROI_REACH * largest / spacing_mm) + 1


def choose_places(
    volume_hu: Num[np.ndarray, "z y x"],
    *,
    spacing_mm: float,
    roi_pixels: int,
    count: int,
    seed: int,
    slices_apart: int = 0,
    margin: int = 0,
    limits: Limits | None = None,
) -> Places:
    """Draw random places in flat soft tissue; every other one gets a lesion.

    Args:
        volume_hu: the volume, noiseless or at full dose, HU.
        spacing_mm: the pixel size, mm.
        roi_pixels: the edge of the ROIs, odd; they lie inside the image and do not overlap.
        count: the largest number of places, both kinds together.
        seed: the seed of the draw.
        slices_apart: the least number of slices between ROIs that lie above each other.
        margin: the number of slices at each end of the volume that get no ROI.
        limits: the definition of flat soft tissue; by default that of `Limits`.

    Raises:
        InputError: an even edge, or fewer than two places.
    """
    if roi_pixels % 2 == 0:
        raise InputError(f"roi_pixels: {roi_pixels}; it must be odd, so that there is a middle")
    limits = limits or Limits()
    inner = volume_hu[margin : len(volume_hu) - margin]
    flat = [_flat(image, roi_pixels, spacing_mm, limits) for image in inner]
    free = np.pad(np.array(flat, bool).reshape(inner.shape), [(margin, margin), (0, 0), (0, 0)])
    chosen: list[Place] = []
    for z, y, x in np.random.default_rng(seed).permutation(np.argwhere(free)):
        if len(chosen) == count:
            break
        if free[z, y, x]:
            chosen.append(Place(int(z), int(y), int(x)))
            box = _box(chosen[-1], roi_pixels - 1)
            free[max(0, z - slices_apart) : z + slices_apart + 1, box[0], box[1]] = False
    if len(chosen) < 2:
        raise InputError(
            f"{len(chosen)} places of flat soft tissue for ROIs of {roi_pixels} pixels; "
            "there must be 2 or more"
        )
    return Places(tuple(chosen[::2]), tuple(chosen[1::2]), roi_pixels)


def _flat(
    image: Num[np.ndarray, "y x"], edge: int, spacing_mm: float, limits: Limits
) -> Bool[np.ndarray, "y x"]:
    """Return a mask of the middles of ROIs of one slice that lie in flat soft tissue."""
    values = image.astype(np.float64)
    blurred = scipy.ndimage.gaussian_filter(values, _GRADIENT_BLUR_MM / spacing_mm)
    gradient = np.hypot(*np.gradient(blurred, spacing_mm))
    mean, square, slope = (
        scipy.ndimage.uniform_filter(part, edge) for part in (values, values**2, gradient)
    )
    inside = np.zeros(image.shape, bool)
    half = edge // 2
    inside[half : image.shape[0] - half, half : image.shape[1] - half] = True
    low, high = limits.mean_hu
    flat: Bool[np.ndarray, "y x"] = (
        inside
        & (mean >= low)
        & (mean <= high)
        & (square - mean**2 <= limits.sd_hu**2)
        & (slope <= limits.gradient_hu_per_mm)
    )
    return flat


def insert_lesions(
    volume_hu: Num[np.ndarray, "z y x"],
    task: LesionTask,
    places: Sequence[Place],
    *,
    spacing_mm: float,
    interval_mm: float,
) -> Float32[np.ndarray, "z y x"]:
    """Insert a lesion at each place of a volume, blurred like the lesions of a phantom.

    Args:
        volume_hu: the volume, noiseless or at full dose, HU.
        task: the lesion.
        places: the middles of the lesions.
        spacing_mm: the pixel size, mm.
        interval_mm: the distance between two slices, mm.

    Returns:
        The volume with lesions, HU. Their point spread is that of a B30f-like kernel, whatever
        the kernel of the volume.
    """
    shape = volume_hu.shape
    if task.form == "sphere":
        plain = _spheres(task, places, shape, spacing_mm, interval_mm)
    else:
        plain = np.zeros(shape, np.float32)
        reach = int(task.radius_mm / interval_mm)
        for place in places:
            middle = [Place(0, place.y, place.x)]
            disk = _spheres(task, middle, (1, *shape[1:]), spacing_mm, interval_mm)
            plain[max(0, place.z - reach) : place.z + reach + 1] += disk
    both: Float32[np.ndarray, "z y x"] = volume_hu.astype(np.float32)
    both += phantom.blur(plain, spacing_mm)
    return both


def _spheres(
    task: LesionTask,
    places: Sequence[Place],
    shape: tuple[int, ...],
    spacing_mm: float,
    interval_mm: float,
) -> Float32[np.ndarray, "z y x"]:
    lesions = tuple(
        phantom.Lesion(place.z, place.y, place.x, task.radius_mm, task.contrast_hu)
        for place in places
    )
    z, y, x = shape
    return phantom.lesion_contrast(lesions, (z, y, x), spacing_mm, interval_mm)


def extract_rois(
    volume_hu: Num[np.ndarray, "z y x"], places: Sequence[Place], roi_pixels: int
) -> Float[np.ndarray, "roi edge edge"]:
    """Return square ROIs around places of a volume, float64, HU."""
    boxes = [(place.z, *_box(place, roi_pixels // 2)) for place in places]
    return np.stack([volume_hu[box] for box in boxes]).astype(np.float64)


def _box(place: Place, reach: int) -> tuple[slice, slice]:
    """Return the rows and columns within a number of pixels of a place."""
    middles = (place.y, place.x)
    rows, columns = (slice(max(0, middle - reach), middle + reach + 1) for middle in middles)
    return rows, columns
