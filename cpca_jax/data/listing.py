"""Which files lie below a folder, without opening any."""

import dataclasses
import os
import re
from pathlib import Path

# TCIA's LDCT-and-Projection-data keeps tens of thousands of projections beside the images, in
# folders such as "2.000000-Full Dose Projections-51342". Not the collection's own name.
_PROJECTIONS = re.compile(r"\b(full|low|quarter|routine|normal) ?dose projections?\b")


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files below a folder.

    Attributes:
        paths: absolute, in a fixed order, without hidden files and DICOM's indices (DICOMDIR).
        projections: how many more lie in folders of projections.
    """

    paths: tuple[Path, ...]
    projections: int


def list_files(root: Path) -> Listing:
    """All files below `root`, following links to folders; no folder is visited twice.

    None where `root` is a file or is not there.
    """
    paths: list[Path] = []
    projections = 0
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(os.path.abspath(root), followlinks=True):
        real = os.path.realpath(folder)
        subfolders[:] = [] if real in seen else sorted(s for s in subfolders if s[0] != ".")
        if real not in seen:
            kept = [name for name in sorted(names) if name[0] != "." and name != "DICOMDIR"]
            if _holds_projections(folder):
                projections += len(kept)
            else:
                paths.extend(Path(folder, name) for name in kept)
        seen.add(real)
    return Listing(tuple(paths), projections)


def _holds_projections(folder: str) -> bool:
    words = re.sub(r"[^a-z0-9]+", " ", os.path.basename(folder).lower())
    return bool(_PROJECTIONS.search(words))
