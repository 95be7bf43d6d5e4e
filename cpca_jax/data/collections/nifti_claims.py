"""What the header of a NIfTI file claims, judged before a reader makes room for it.

The library that reads NIfTI believes the sizes of extensions, the place of the voxels and their
number. A compressed file of a kilobyte may claim gigabytes of each.
"""

import gzip
import io
import logging
import math
import struct
import warnings
from pathlib import Path
from typing import NamedTuple

from cpca_jax.errors import VolumeError

# nibabel prints what it mends in a header, line by line; what matters here is checked here.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL + 1)

# nibabel prints each oddity of a header; what matters is refused or told here and in `nifti`.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module=r"nibabel\b")

# The size that needs no judgement: 64 MiB.
_SMALL = 1 << 26
# Deflate packs at most 1032 bytes into one.
_TIGHTEST = 1100
# NIfTI-1 cannot say more; NIfTI-2 could.
_LONGEST = 32767
_SMALLEST_EXTENSION = 16
_File = gzip.GzipFile | io.BufferedReader


class _Layout(NamedTuple):
    """Where a version of the format keeps the first byte of the voxels, by `struct`'s letters."""

    place: int
    form: str


_LAYOUTS = {348: _Layout(108, "f"), 540: _Layout(168, "q")}


def require_sound_start(path: Path) -> None:
    """Refuse a file whose extensions or whose voxels begin at an impossible place.

    Args:
        path: a .nii or .nii.gz file.

    Raises:
        VolumeError: the message says what is impossible.
        OSError, EOFError, zlib.error, struct.error: the file cannot be read or is too short.
    """
    with _opened(path) as file:
        start = file.read(4)
        order, length = next(
            (
                (order, length)
                for order in "<>"
                for length in _LAYOUTS
                if start == struct.pack(f"{order}i", length)
            ),
            ("", 0),
        )
        if not length:
            raise VolumeError(f"{path.name}: is no NIfTI file (has no header of it)")
        header = start + file.read(length)
        layout = _LAYOUTS[length]
        (first,) = struct.unpack_from(f"{order}{layout.form}", header, layout.place)
        end = length + 4
        # 0 stands for the end of the header.
        if not (math.isfinite(first) and (first == 0 or end <= first <= _SMALL)):
            wanted = f"must lie between {end} and {_SMALL}"
            raise VolumeError(f"{path.name}: vox_offset is {first:g}, {wanted}")
        if header[length : length + 1] > b"\0":
            _require_extensions(path.name, file, order, range(end, int(first)))


def _require_extensions(name: str, file: _File, order: str, room: range) -> None:
    place = room.start
    while True:
        said = file.read(4)
        left = room.stop - place
        size = struct.unpack(f"{order}i", said)[0] if len(said) == 4 else 0
        if not _SMALLEST_EXTENSION <= size <= left:
            wanted = f"must be {_SMALLEST_EXTENSION} to {max(left, 0)}"
            raise VolumeError(f"{name}: has an extension of {size} bytes, {wanted}")
        place += size
        if room.stop - place < _SMALLEST_EXTENSION:
            return
        file.seek(place)


def require_held(path: Path, shape: tuple[int, ...], itemsize: int, first: int) -> None:
    """Refuse a file that claims more voxels than it can hold.

    Args:
        path: a .nii or .nii.gz file.
        shape: the number of voxels along each axis.
        itemsize: the bytes of a voxel.
        first: the byte of the unpacked file at which the voxels begin.

    Raises:
        VolumeError: the message names the claim and what the file can hold.
        OSError: the file cannot be read.
    """
    if max(shape) > _LONGEST:
        raise VolumeError(f"{path.name}: has {max(shape)} voxels on an axis, at most {_LONGEST}")
    claimed, size = first + math.prod(shape) * itemsize, path.stat().st_size
    packed = _is_packed(path)
    held = max(_TIGHTEST * size, _SMALL) if packed else size
    if claimed > held:
        kind = f"{size} compressed bytes" if packed else f"{size} bytes"
        raise VolumeError(
            f"{path.name}: claims {claimed} bytes where the file has {kind}; fetch it again"
        )


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _opened(path: Path) -> _File:
    return gzip.GzipFile(path, "rb") if _is_packed(path) else path.open("rb")
