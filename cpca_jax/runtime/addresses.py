"""Addresses of object stores, which are not paths: refused before they become local folders."""

import re

from cpca_jax.errors import InputError


def refuse(what: str, path: str) -> None:
    """Refuse addresses such as gs://bucket, which pathlib would turn into a local folder `gs:`.

    Raises:
        InputError: `path` is such an address; the message names `what` and what would be right.
    """
    if re.match(r"[A-Za-z][\w+.-]*:/", path):
        raise InputError(
            f"{what}: '{path}' must be a folder or a file; a bucket can be mounted as one "
            "(docs/scaling.md)"
        )
