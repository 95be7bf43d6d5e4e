"""NIfTI volumes, read and written; the only module that knows nibabel.

A NIfTI file keeps its voxels in any order of axes, with an affine to patient coordinates (x to
the right, y to the front, z up: RAS) and a scaling from stored values to HU. Here every volume
is (z y x) as in DICOM: z towards the head, rows towards the back, columns to the patient's
left. A written file has the order, affine and scaling of its source again.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from cpca_jax.data.collections.hounsfield import require_hu
from cpca_jax.data.collections.nifti_claims import require_held, require_sound_start
from cpca_jax.errors import VolumeError
from cpca_jax.runtime.circumstances import cause
from cpca_jax.runtime.files import whole_path

SUFFIXES = (".nii.gz", ".nii")
_RANGE = np.iinfo(np.int16)
# The lengths in mm of the units that the low three bits of xyzt_units name.
_TO_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
# Where converters write the patient's name.
_FREE_TEXTS = ("db_name", "aux_file", "intent_name")
# The change from RAS, the coordinates of NIfTI, to LPS, those of DICOM.
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclasses.dataclass(frozen=True, eq=False)
class NiftiGeometry:
    """The place of the voxels of a file, from its header alone.

    Attributes:
        path: the file.
        shape: (z, y, x).
        spacing_mm: the distances (z, y, x); z along the slices' normal.
        orientation: the direction cosines of x, then of y, in DICOM's patient coordinates.
        origins_mm: the centre of each slice's first pixel in patient coordinates, (z, 3).
        doubts: what the header leaves open, and how it was taken, in words.
    """

    path: Path
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: tuple[float, ...]
    origins_mm: Float[np.ndarray, "z 3"]
    doubts: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class NiftiVolume(NiftiGeometry):
    """A volume in HU.

    Attributes:
        volume_hu: the voxels in HU (z y x), z ascending towards the head; int16 where the file
            holds whole numbers that fit, else float32. Not finite outside the scan, if asked for.
    """

    volume_hu: Shaped[np.ndarray, "z y x"]


def is_nifti(path: Path) -> bool:
    """Tell whether a file has the name of a NIfTI volume."""
    return path.name.lower().endswith(SUFFIXES)


def read_geometry(path: Path) -> NiftiGeometry:
    """Read the header of a volume.

    Args:
        path: a .nii or .nii.gz file.

    Returns:
        The shape and the place of its voxels.

    Raises:
        VolumeError: the file is not NIfTI, or has not three axes or no usable affine.
    """
    return NiftiGeometry(path, **_geometry(path, _opened(path)))


def read_nifti(path: Path, *, gaps: bool = False) -> NiftiVolume:
    """Read a volume in HU.

    Args:
        path: a .nii or .nii.gz file whose scaled values are HU.
        gaps: take a file with voxels that are not finite, as outside the scan; they stay so.

    Returns:
        The volume, its spacing and its place.

    Raises:
        VolumeError: `read_geometry` refuses the file, or its values are damaged, not finite, or
            cannot be HU.
    """
    image = _opened(path)
    geometry = _geometry(path, image)
    order, flips = _axes(path, image)
    try:
        stored = np.asanyarray(image.dataobj.get_unscaled())
    # Every error of a decoder is a fault of the file.
    except Exception as error:
        raise VolumeError(f"{path.name}: voxels cannot be read ({cause(error)})") from error
    slope, inter = _scaling(image)
    scaled = _scaled(stored.reshape(image.shape[:3]), slope, inter)
    known = scaled[np.isfinite(scaled)] if gaps and scaled.dtype.kind == "f" else scaled
    if not known.size:
        raise VolumeError(f"{path.name}: no voxel is finite, must be HU")
    require_hu(path.name, float(known.min()), float(known.max()))
    volume = np.ascontiguousarray(np.transpose(scaled, order)[flips])
    return NiftiVolume(path, **geometry, volume_hu=volume)


def write_nifti(
    path: Path,
    volume_hu: Shaped[np.ndarray, "z y x"],
    *,
    like: Path,
    made: str = "",
    gaps: bool = False,
) -> int:
    """Write a volume with another file's order of axes, affine, data type and scaling.

    The file appears whole or not at all; an existing file is never replaced. Header
    extensions are left out, because they may hold a patient's DICOM attributes.

    Args:
        path: the new file, .nii or .nii.gz.
        volume_hu: the volume in HU (z y x), as `read_nifti` gives it.
        like: the file that `volume_hu` was made from.
        made: how the volume was made, at most 80 characters of ASCII, see `made_how`.
        gaps: take values that are not finite, which only files of floating point hold.

    Returns:
        The number of voxels that lay outside the range of the data type and were clipped to it.

    Raises:
        VolumeError: the volume has another shape than `like` or values that are not finite, the
            name lacks .nii, the file exists already, or the disk does not take it.
    """
    image = _opened(like)
    wanted = _geometry(like, image)["shape"]
    if volume_hu.shape != wanted:
        raise VolumeError(f"{path.name}: volume is {volume_hu.shape}, must be {wanted}")
    if not is_nifti(path):
        raise VolumeError(f"{path.name}: is no name of a NIfTI file, must end in .nii or .nii.gz")
    if path.exists() or path.is_symlink():
        raise VolumeError(f"{path.name}: is there already, must be a new file")
    if not (gaps and image.get_data_dtype().kind == "f") and not np.isfinite(volume_hu).all():
        raise VolumeError(f"{path.name}: volume has values that are not finite")
    order, flips = _axes(like, image)
    back = np.transpose(volume_hu[flips], np.argsort(order))
    stored, clipped = _stored(back, image)
    _save(path, stored.reshape(image.shape), image, made)
    return clipped


def made_how(path: Path) -> str:
    """Return what `write_nifti` was told of the making of a file.

    Raises:
        VolumeError: the file is not NIfTI.
    """
    return bytes(_opened(path).header["descrip"].tobytes()).rstrip(b"\0").decode("latin-1")


def _opened(path: Path) -> Any:
    import nibabel

    try:
        require_sound_start(path)
        # Not mapped: a file that becomes shorter meanwhile would end the process.
        image = nibabel.load(path, mmap=False)
    except VolumeError:
        raise
    # nibabel has several errors of its own besides those of gzip and of the system.
    except Exception as error:
        raise VolumeError(f"{path.name}: is no NIfTI file ({cause(error)})") from error
    if not isinstance(image, nibabel.Nifti1Pair):
        raise VolumeError(f"{path.name}: is {type(image).__name__}, must be NIfTI")
    shape = tuple(image.shape)
    if len(shape) < 3 or min(shape) < 1 or any(length != 1 for length in shape[3:]):
        found = " x ".join(map(str, shape))
        raise VolumeError(f"{path.name}: has {found} voxels, must have three axes")
    if image.get_data_dtype().kind not in "iuf":
        raise VolumeError(f"{path.name}: holds {image.get_data_dtype()}, must hold numbers")
    voxels: Any = image.dataobj
    require_held(path, shape, image.get_data_dtype().itemsize, int(voxels.offset))
    return image


def _axes(path: Path, image: Any) -> tuple[tuple[int, int, int], tuple[slice, ...]]:
    """Return the axes of the file that are z, y and x, and the flips of those that run backwards.

    Each axis goes to the direction of the body that it is closest to, so that oblique volumes
    keep their slices.
    """
    import nibabel

    with np.errstate(invalid="ignore", divide="ignore"):
        affine = np.asarray(image.affine, float)
        usable = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-9
        axes = nibabel.io_orientation(_RAS_TO_LPS @ affine) if usable else None
    if axes is None or np.isnan(axes).any():
        raise VolumeError(f"{path.name}: affine cannot be inverted, must place every voxel")
    x, y, z = (int(np.flatnonzero(axes[:, 0] == world)[0]) for world in range(3))
    flips = tuple(slice(None, None, int(axes[axis, 1])) for axis in (z, y, x))
    return (z, y, x), flips


def _geometry(path: Path, image: Any) -> dict[str, Any]:
    order, flips = _axes(path, image)
    unit = int(image.header["xyzt_units"]) & 7
    to_mm = _TO_MM.get(unit, 1.0)
    affine = _RAS_TO_LPS @ np.asarray(image.affine, float)
    affine[:3] *= to_mm
    shape = tuple(int(image.shape[axis]) for axis in order)
    steps = [affine[:3, axis] * (flip.step or 1) for axis, flip in zip(order, flips, strict=True)]
    origin = affine[:3, 3].copy()
    for axis, flip, length in zip(order, flips, shape, strict=True):
        if flip.step == -1:
            origin += affine[:3, axis] * (length - 1)
    z, y, x = steps
    normal = np.cross(x, y) / np.linalg.norm(np.cross(x, y))
    lengths = (abs(z @ normal), np.linalg.norm(y), np.linalg.norm(x))
    doubts: tuple[str, ...] = ()
    if unit not in _TO_MM:
        said = f"has code {unit}, which names none" if unit else "names none"
        doubts = (f"xyzt_units {said}; lengths are taken as mm",)
    return {
        "doubts": doubts,
        "shape": shape,
        "spacing_mm": tuple(float(length) for length in lengths),
        "orientation": tuple(float(c) for c in (*x / lengths[2], *y / lengths[1])),
        "origins_mm": origin + np.arange(shape[0])[:, None] * z,
    }


def _scaling(image: Any) -> tuple[float, float]:
    """Return HU per stored unit and HU of a stored 0; 1 and 0 where the file says nothing."""
    return float(image.dataobj.slope), float(image.dataobj.inter)


def _scaled(
    stored: Shaped[np.ndarray, "i j k"], slope: float, inter: float
) -> Shaped[np.ndarray, "i j k"]:
    if stored.dtype.kind in "iu" and slope.is_integer() and inter.is_integer():
        ends = [int(stored.min()) * int(slope) + int(inter), int(stored.max()) * int(slope)]
        ends[1] += int(inter)
        if min(ends) >= _RANGE.min and max(ends) <= _RANGE.max:
            whole = np.empty(stored.shape, np.int16)
            for row, values in enumerate(stored):
                whole[row] = values.astype(np.int64) * int(slope) + int(inter)
            return whole
    scaled = np.empty(stored.shape, np.float32)
    with np.errstate(all="ignore"):  # what overflows is not finite, and is refused
        for row, values in enumerate(stored):
            scaled[row] = values.astype(np.float64) * slope + inter
    return scaled


def _stored(
    volume_hu: Shaped[np.ndarray, "i j k"], image: Any
) -> tuple[Shaped[np.ndarray, "i j k"], int]:
    """Return the values as the file holds them, and the number of those that were clipped."""
    dtype = image.get_data_dtype()
    slope, inter = _scaling(image)
    kept, clipped = np.empty(volume_hu.shape, dtype), 0
    # Row by row: several copies in float64 would be many times the volume.
    for row, hu in enumerate(volume_hu):
        values = (hu.astype(np.float64) - inter) / slope
        if dtype.kind != "f":
            limits, values = np.iinfo(dtype), np.rint(values)
            clipped += int(np.count_nonzero((values < limits.min) | (values > limits.max)))
            values = np.clip(values, limits.min, limits.max)
        kept[row] = values
    return kept, clipped


def _save(path: Path, stored: Shaped[np.ndarray, "..."], image: Any, made: str) -> None:
    import nibabel

    header = nibabel.Nifti1Header.from_header(image.header)
    header.extensions.clear()
    for text in _FREE_TEXTS:
        header[text] = b""
    header["descrip"] = made.encode("ascii")
    written = nibabel.Nifti1Image(stored, image.affine, header)
    # Set only now, because the constructor forgets it; without it, nibabel chooses its own.
    written.header.set_slope_inter(*_scaling(image))
    with whole_path(path, replacing=False, error=VolumeError) as partial:
        written.to_filename(partial)
