"""Files of DICOM that give no more than a slice can need, whatever they claim."""

import io
import os
import zlib
from pathlib import Path

from pydicom.filereader import read_dataset

from cpca_jax.errors import DicomError

# Beyond the attributes of any slice, private ones included: 64 MiB.
HEADER_BYTES = 1 << 26
# Readers look ahead by fewer bytes than this.
_LARGE_READ = 1 << 20
# What a deflated file says of its size stands in its first part.
_FIRST_INFLATED = 1 << 20
_ROWS, _COLUMNS = 0x00280010, 0x00280011
# Four times the 16-bit pixels of a slice.
_BYTES_PER_PIXEL = 8


def pixel_bytes(shape: tuple[int, int]) -> int:
    """Return the most bytes that the pixels of a slice may take, compressed or not."""
    return _BYTES_PER_PIXEL * shape[0] * shape[1]


class BoundedReader(io.BufferedReader):
    """A file that refuses to be read far beyond its end, or beyond what a slice can need.

    An element may claim four gigabytes, which a plain read would allocate first; a file without
    the end of an element would be read whole; and a deflated file may grow a thousandfold.
    """

    def __init__(self, path: Path, limit: int = HEADER_BYTES) -> None:
        """Open a file.

        Args:
            path: a DICOM file.
            limit: the most bytes that may be read from it.

        Raises:
            OSError: the file cannot be opened.
        """
        super().__init__(io.FileIO(path))
        self._label, self._size = path.name, os.fstat(self.fileno()).st_size
        self._limit = self._unread = limit

    def read(self, size: int | None = -1, /) -> bytes:
        """Read like a plain file.

        Raises:
            DicomError: an element cannot be there, or the file holds more than a slice needs.
        """
        left = max(self._size - self.tell(), 0)
        whole = size is None or size < 0
        wanted = left if whole else min(size or 0, left)
        if not whole and (size or 0) > max(left, _LARGE_READ):
            lie = f"an element claims {size} bytes where {left} are left"
            raise DicomError(f"{self._label}: {lie}; export the file again")
        self._unread -= wanted
        if self._unread < 0:
            raise DicomError(
                f"{self._label}: needs more than {self._limit} bytes to be read, "
                "must need four times its Rows x Columns at most"
            )
        content = super().read(size)
        if whole:  # only deflated files are read so
            _require_inflatable(self._label, content)
        return content


def _require_inflatable(name: str, deflated: bytes) -> None:
    """Refuse a deflated data set that is much larger than its Rows and Columns need."""
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    first = inflating.decompress(deflated, _FIRST_INFLATED)
    about = read_dataset(
        io.BytesIO(first),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _representation, _length: tag > _COLUMNS,
        specific_tags=[_ROWS, _COLUMNS],
    )
    shape = (int(about.get("Rows") or 0), int(about.get("Columns") or 0))
    limit, found = HEADER_BYTES + pixel_bytes(shape), len(first)
    while inflating.unconsumed_tail and found <= limit:
        found += len(inflating.decompress(inflating.unconsumed_tail, _FIRST_INFLATED))
    if found > limit:
        raise DicomError(
            f"{name}: inflates to more than {limit} bytes, must be four times Rows x Columns, "
            f"{shape[0]} x {shape[1]}, at most"
        )
