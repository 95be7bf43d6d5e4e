"""Published weight files, fetched only when asked for and kept only when their hash is right."""

import dataclasses
import hashlib
import http.client
import urllib.request
from pathlib import Path
from typing import Any

from cpca_jax.errors import ConfigError, WeightsError
from cpca_jax.weights.vgg_files import whole_file


@dataclasses.dataclass(frozen=True)
class Download:
    """A published file that is known by its hash.

    Attributes:
        url: Where it is published.
        file_name: Its name in the cache.
        algorithm: "md5" (all that Keras publishes) or "sha256".
        hexdigest: The hash, or as much of its beginning as is published.
        limit: Bytes after which a transfer is given up.
    """

    url: str
    file_name: str
    algorithm: str
    hexdigest: str
    limit: int

    def new_hash(self) -> Any:
        """An empty hash of the right kind."""
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
    """Whether a file is the published one, by its hash."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, known.new_hash).hexdigest()
    return found.startswith(known.hexdigest)


def download(name: str, cache: Path | None) -> Path:
    """Fetch a published file into the cache, unless it is there.

    Args:
        name: a key of DOWNLOADS.
        cache: folder to keep it in.

    Returns:
        The file's path; it has its name only once its hash was right.

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
    summed = known.new_hash()
    try:
        with whole_file(path) as file, urllib.request.urlopen(known.url, timeout=60) as reply:
            while piece := reply.read(1 << 20):
                file.write(piece)
                summed.update(piece)
                if file.tell() > known.limit:
                    raise WeightsError(f"{path.name}: longer than {known.limit} bytes; not kept")
            if not summed.hexdigest().startswith(known.hexdigest):
                raise WeightsError(
                    f"{path.name}: {known.algorithm} {summed.hexdigest()}, expected "
                    f"{known.hexdigest}; not kept: fetch it another way and give its path"
                )
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(
            f"{path.name}: download failed ({type(error).__name__}); fetch it another way "
            "and give its path"
        ) from error
    return path
