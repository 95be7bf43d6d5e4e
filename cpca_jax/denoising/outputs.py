"""What lies beside a denoised series or volume: its record and its page.

The series or volume itself says which weights made it from which source, and appears first. So
a second run can tell its own work, and adds what a killed one has not written.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpca_jax.denoising import before_after
from cpca_jax.denoising.before_after import Effect
from cpca_jax.denoising.denoiser import Denoiser
from cpca_jax.denoising.dicom_series import Shown
from cpca_jax.errors import OutputError
from cpca_jax.runtime import files, logs, records

# The outcome of a series, as summary.json states it.
Record = dict[str, Any]
# The bytes that file systems take for a name.
_LONGEST_NAME = 255


def new_record(model: Denoiser, source: str) -> Record:
    """Return a record of the model and of the digest of its source."""
    return {"model": model.digest, "run": model.name, "step": model.step, "source": source}


def made(record: Record) -> str:
    """Return what a volume says of its own making: at most 80 characters."""
    return f"cpca_jax {record['model']} step {record['step']} of {record['source'][:24]}"


def beside(output: Path, name: str, suffix: str) -> Path:
    """Return the path of the file that belongs to the output `name`.

    A name that would become too long is shortened and made unique by a digest.
    """
    path = output / f"{name}{suffix}"
    if len(os.fsencode(path.name)) <= _LONGEST_NAME:
        return path
    whole = os.fsencode((output / name).name)
    digest = f"-{hashlib.sha256(whole).hexdigest()[:8]}{suffix}"
    # Cut between characters, not within one.
    kept = whole[: _LONGEST_NAME - len(digest)].decode(errors="ignore")
    return path.with_name(f"{kept}{digest}")


def require_no_links(output: Path, written: Path) -> None:
    """Refuse an output that a link within the output folder would lead elsewhere.

    Raises:
        OutputError: the file or folder to write, or a folder above it, is a link.
    """
    for place in (written, *written.parents):
        if place == output:
            return
        if place.is_symlink():
            raise OutputError(
                f"{place.name}: is a link in the output folder, and nothing is written through "
                "links; remove it or give another --output"
            )


def read_json(path: Path) -> Record:
    """Return a record; empty where there is none or it is damaged, see `records.read_record`."""
    return records.read_record(path) or {}


def require_same(before: Record, record: Record, name: str) -> Record:
    """Return the record of an existing output if the same model made it from the same source.

    Raises:
        OutputError: it did not.
    """
    if any(before.get(key) != record[key] for key in ("model", "source")):
        raise not_ours(name)
    return before


def not_ours(name: str) -> OutputError:
    """Return the error about an output that another model or source has made."""
    return OutputError(
        f"{name} exists already, from another model or input, and nothing is overwritten; "
        "give another --output"
    )


def there_already(path: Path, name: str, before: Record) -> Record:
    """Write the record of an existing output where it is missing; return it for the summary."""
    if read_json(path) != before:
        write_json(path, before)
        logs.say(f"{name}: denoised before; its record was missing and is written now")
    else:
        logs.say(f"{name}: denoised before, left unchanged")
    return {**before, "state": "there already"}


def has_page(output: Path, name: str) -> bool:
    """Tell whether the page and the picture of an output are there."""
    return all(beside(output, name, suffix).is_file() for suffix in (".png", ".html"))


def write_page(
    output: Path, name: str, model: Denoiser, record: Record, shown: Sequence[Shown]
) -> None:
    """Write the page of before and after, and its picture."""
    png = before_after.montage(shown)
    lead = f"Denoised by {model.name}, step {model.step} ({model.digest})"
    if record.get("said"):
        lead += f": {record['said']}"
    page = before_after.page(name, f"{lead}.", Effect(**record["effect"]), png)
    files.write_file(beside(output, name, ".png"), png)
    # Names of files that are not UTF-8 have no other spelling.
    content = page.encode(errors="backslashreplace")
    files.write_file(beside(output, name, ".html"), content)


def write_json(path: Path, record: Record) -> None:
    """Write a record."""
    files.write_file(path, (json.dumps(record, indent=1) + "\n").encode())
