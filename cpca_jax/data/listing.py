"""The files below a folder, listed without opening any."""

import dataclasses
import os
import re
from pathlib import Path

from cpca_jax.errors import ScanError
from cpca_jax.runtime.circumstances import reason
from cpca_jax.runtime.files import is_special

# TCIA's LDCT-and-Projection-data keeps tens of thousands of projections next to the images, in
# folders such as "2.000000-Full Dose Projections-51342". The collection's own name must not match.
_PROJECTIONS = re.compile(r"\b(full|low|quarter|routine|normal) ?dose projections?\b")

# Folders of the system at the top of a disk, which users may not read and which hold no scans.
_OF_THE_SYSTEM = {"lost+found", "System Volume Information", "$RECYCLE.BIN"}


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files below a folder.

    Attributes:
        paths: absolute paths in a fixed order, without hidden files and DICOM's indices (DICOMDIR).
        projections: the number of further files, which lie in folders of projections.
        special: the number of named pipes, sockets and devices, which are never opened.
    """

    paths: tuple[Path, ...]
    projections: int
    special: int = 0


def list_files(root: Path) -> Listing:
    """List all files below `root`, following links to folders; no folder is visited twice.

    The listing is empty where `root` is a file or does not exist.

    Raises:
        ScanError: a folder cannot be read; its files would be missing without a word.
    """

    def refuse(error: OSError) -> None:
        name = os.path.basename(error.filename)
        if os.path.isdir(error.filename) and name not in _OF_THE_SYSTEM:
            raise ScanError(f"{name}: cannot be read: {reason(error)}") from error

    paths: list[Path] = []
    projections = special = 0
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(
        os.path.abspath(root), onerror=refuse, followlinks=True
    ):
        real = os.path.realpath(folder)
        subfolders[:] = [] if real in seen else sorted(s for s in subfolders if s[0] != ".")
        if real not in seen:
            kept = [name for name in sorted(names) if name[0] != "." and name != "DICOMDIR"]
            if _holds_projections(folder):
                projections += len(kept)
            else:
                found = [Path(folder, name) for name in kept]
                plain = [path for path in found if not is_special(path)]
                special += len(found) - len(plain)
                paths.extend(plain)
        seen.add(real)
    return Listing(tuple(paths), projections, special)


def _holds_projections(folder: str) -> bool:
    words = re.sub(r"[^a-z0-9]+", " ", os.path.basename(folder).lower())
    return bool(_PROJECTIONS.search(words))
