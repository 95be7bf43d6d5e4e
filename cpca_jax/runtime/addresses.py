"""Addresses of object stores, which are no paths: refused before they become local folders."""

import re

from cpca_jax.errors import InputError


def refuse(what: str, path: str) -> None:
    """Refuse gs://bucket and the like, of which pathlib would make a local folder `gs:`.

    Raises:
        InputError: names `what`, the address, and what would be right.
    """
    if re.match(r"[A-Za-z][\w+.-]*:/", path):
        raise InputError(
            f"{what}: '{path}' must be a folder or a file; a bucket can be mounted as one "
            "(docs/scaling.md)"
        )
