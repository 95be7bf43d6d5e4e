"""HDF5 files from outside, judged before a number is read; the only module that knows h5py.

A file may lead to other files (links, external storage, virtual datasets), and may claim numbers
that it does not hold. Both are refused here.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cpca_jax.errors import InputError

# Numbers of CT images and of networks are never packed more tightly than this.
TIGHTEST = 64
# The size in bytes that needs no judgement.
SMALL = 1 << 26
_ROOM = 1 << 16


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file for reading.

    Raises:
        OSError: it is no HDF5 file, or what is read of it within the block is damaged.
    """
    import h5py

    # The library quotes whole paths where a file may not be opened.
    path.open("rb").close()
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (InputError, MemoryError):
        raise
    # The library has an error of nearly any kind for a damaged byte.
    except Exception as error:
        raise OSError(f"{path.name}: {type(error).__name__}") from error


def fault(file: Any, name: str) -> str:
    """Return what is wrong with a dataset, in words that follow its name; "" where it is sound.

    Args:
        file: the open file.
        name: the path of the dataset in the file.
    """
    import h5py

    place = file
    for part in name.strip("/").split("/"):
        if not isinstance(place, h5py.Group) or part not in place.keys():  # noqa: SIM118
            return "is missing"
        if not isinstance(place.get(part, getlink=True), h5py.HardLink):
            return "is a link, must be a dataset"
        place = place[part]
    if not isinstance(place, h5py.Dataset):
        return "is a group, must be a dataset"
    if place.external or place.is_virtual:
        return "lies in another file, must lie in this one"
    return _size_fault(place)


def _size_fault(dataset: Any) -> str:
    size, stored = int(dataset.nbytes), int(dataset.id.get_storage_size())
    if size > SMALL and size > TIGHTEST * stored:
        return f"claims {size} bytes and stores {stored}"
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    if chunk > SMALL and chunk > 4 * size:
        return f"is kept in pieces of {chunk} bytes, four times its {size} bytes or more"
    if stored > 4 * size + _ROOM:
        return f"stores {stored} bytes, four times its {size} bytes or more"
    return ""


def visit_datasets(file: Any, visit: Callable[[str, Any], None]) -> None:
    """Call `visit` with the name and the object of each dataset; links are not followed."""
    import h5py

    def only_datasets(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            visit(name, node)

    file.visititems(only_datasets)
