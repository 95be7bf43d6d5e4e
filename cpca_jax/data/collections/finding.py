"""The search that all collections without DICOM share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cpca_jax.data.listing import Listing
from cpca_jax.data.scan import FOREIGN, PROJECTIONS, SPECIAL, FoundScans, Scan, Track
from cpca_jax.errors import ConfigError, VolumeError

Source = TypeVar("Source")


def find_each(
    sources: Sequence[Source],
    scans_of: Callable[[Source], Sequence[Scan]],
    *,
    root: Path,
    what: str,
    track: Track,
    refused: Sequence[str] = (),
) -> FoundScans:
    """Read the headers of files, or of groups of files, one after another.

    Args:
        sources: the files or groups.
        scans_of: the function that returns the scans of one source; it raises VolumeError where the
            source cannot be used.
        root: the folder that is searched, for messages.
        what: a name for one source in messages, such as "NIfTI volume".
        track: the display of progress.
        refused: the messages on files that are in none of the sources.

    Returns:
        The scans in the order of the sources, and a message for each source that is refused.

    Raises:
        VolumeError: no source can be used.
    """
    found: list[Scan] = []
    messages = list(refused)
    for source in track(sources, "reading headers", len(sources)):
        try:
            found.extend(scans_of(source))
        except VolumeError as error:
            messages.append(str(error))
    if not found:
        first = f"; first refused: {messages[0]}" if messages else ""
        raise VolumeError(f"{root.name}: no usable {what} among {len(sources)}{first}")
    return FoundScans(tuple(found), tuple(messages))


def left_out(listed: Listing, used: int) -> dict[str, int]:
    """Return `FoundScans.left_out` where `used` of the listed files belong to the collection."""
    counts = {FOREIGN: len(listed.paths) - used, PROJECTIONS: listed.projections}
    return counts | ({SPECIAL: listed.special} if listed.special else {})


def require_no_level(kind: str, level: str | None) -> None:
    """Refuse a dose level for a folder whose files always tell their own.

    Raises:
        ConfigError: a dose level is given.
    """
    if level:
        raise ConfigError(
            f"--full and --low: {kind} files tell their dose themselves; give --input with the "
            "folder that holds both"
        )
