"""Published weight files, fetched only on request and kept only if their hash is right."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, BinaryIO

from cpca_jax.errors import ConfigError, WeightsError

# The seconds of silence after which a server is given up, and the retries of a failed transfer.
_SECONDS, _RETRIES = 60, 2


@dataclasses.dataclass(frozen=True)
class Download:
    """A published file that is known by its hash.

    Attributes:
        url: The address at which it is published.
        file_name: Its name in the cache.
        algorithm: "md5" (all that Keras publishes) or "sha256".
        hexdigest: The hash, or as much of its beginning as is published.
        limit: The number of bytes after which a transfer is given up.
    """

    url: str
    file_name: str
    algorithm: str
    hexdigest: str
    limit: int

    def new_hash(self) -> Any:
        """Return an empty hash of the right kind."""
        return hashlib.new(self.algorithm, usedforsecurity=False)


DOWNLOADS: dict[str, Download] = {
    "keras": Download(
        "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5",
        "253f8cb515780f3b799900260a226db6",
        100_000_000,
    ),
    "torchvision": Download(
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "vgg19-dcbb9e9d.pth",
        "sha256",
        "dcbb9e9d",
        700_000_000,
    ),
}


def is_published(path: Path, known: Download) -> bool:
    """Tell by its hash whether a file is the published one."""
    return _hash(path, known).startswith(known.hexdigest)


def download(name: str, cache: Path | None) -> Path:
    """Fetch a published file into the cache, unless it is there already.

    A transfer that breaks off or brings another file is tried again, twice.

    Args:
        name: a key of DOWNLOADS.
        cache: the folder to keep it in.

    Returns:
        The path of the file, which gets its name only after its hash was found right.

    Raises:
        ConfigError: an unknown name.
        WeightsError: no cache folder, the transfer failed, or the hash is wrong.
    """
    if name not in DOWNLOADS:
        raise ConfigError(f"unknown download {name!r}; allowed: {', '.join(DOWNLOADS)}")
    if cache is None:
        raise WeightsError("no cache folder to download into; set XDG_CACHE_HOME")
    known = DOWNLOADS[name]
    path = cache / known.file_name
    if path.is_file() and is_published(path, known):
        return path
    try:
        _fetch(known, cache)
    except _WrongHash as error:
        raise WeightsError(str(error)) from error
    except OSError as error:  # from the disk or, as all errors of `requests`, from the network
        raise WeightsError(
            f"{path.name}: download failed ({type(error).__name__}); fetch it another way "
            "and give its path"
        ) from error
    return path


class _WrongHash(ValueError):
    """A file is not the published one; pooch fetches again after a ValueError."""


def _fetch(known: Download, cache: Path) -> None:
    """Fetch a file under a temporary name, check it there, then give it its name."""
    import pooch

    def get(url: str, output: str, shelf: pooch.Pooch) -> None:
        with open(output, "wb") as file:
            get_url = pooch.HTTPDownloader(timeout=_SECONDS)
            get_url(url, _Limited(file, known), shelf)
        # The hash is checked here because pooch requires a whole one, and torchvision publishes
        # only the first digits.
        found = _hash(Path(output), known)
        if not found.startswith(known.hexdigest):
            raise _WrongHash(
                f"{known.file_name}: {known.algorithm} {found}, expected {known.hexdigest}; "
                "not kept: fetch it another way and give its path"
            )

    pooch.get_logger().setLevel("WARNING")
    shelf = pooch.create(
        cache,
        base_url="",
        registry={known.file_name: None},
        urls={known.file_name: known.url},
        retry_if_failed=_RETRIES,
    )
    (cache / known.file_name).unlink(missing_ok=True)  # a wrong file, which pooch would keep
    shelf.fetch(known.file_name, downloader=get)


class _Limited:
    """A file that refuses to grow beyond a download's limit."""

    def __init__(self, file: BinaryIO, known: Download) -> None:
        self._file, self._known = file, known

    def write(self, piece: bytes) -> None:
        if self._file.tell() + len(piece) > self._known.limit:
            limit = self._known.limit
            raise WeightsError(f"{self._known.file_name}: longer than {limit} bytes; not kept")
        self._file.write(piece)

    def flush(self) -> None:
        self._file.flush()


def _hash(path: Path, known: Download) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, known.new_hash).hexdigest()
