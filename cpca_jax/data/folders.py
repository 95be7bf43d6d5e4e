"""The dose level and the patient, as the names of folders tell them.

The public paired collections keep both there and only there: the 2016 AAPM-Mayo challenge
calls every patient "Anonymous" and gives its quarter-dose files the dose tags of the full
dose; the TCIA collection LDCT-and-Projection-data names its series "Full Dose Images" and
"Low Dose Images", in changing case.
"""

import hashlib
import re
from collections.abc import Sequence

FULL = "full"
LOW = "low"

# Matched against a name in lower case whose separators have become single blanks. A bare
# "full" or "low" is not enough, or "full body" would be a dose level.
_LEVELS = {
    FULL: re.compile(r"\b(full|normal|routine) ?dose\b|\b(full|fd)( \d+ ?mm\b|$)"),
    LOW: re.compile(r"\b(quarter|low) ?dose\b|\b(quarter|low|qd|ld)( \d+ ?mm\b|$)"),
}
_FULL_WORD = re.compile(r"\b(full|normal|routine)")
_LOW_WORD = re.compile(r"\b(quarter|low)")

# The same at the end of a file's name: what stands before it is the volume's own name.
_LEVEL_AT_END = re.compile(
    r"(^|[^a-z0-9]+)(full|normal|routine|quarter|low|fd|qd|ld)([^a-z0-9]?dose)?"
    r"([^a-z0-9]*\d+ ?mm)?$",
    re.IGNORECASE,
)

# The names of the public collections' folders.
_LAYOUTS = {
    "TCIA LDCT-and-Projection-data": re.compile(
        r"ldct and projection data|\d (full|low) dose images \d"
    ),
    "AAPM-Mayo 2016": re.compile(r"\b(full|quarter|fd|qd) \d ?mm\b"),
}

# Identifiers of the public collections: L(iver), C(hest), N(eck and head) and a number.
_PUBLIC_PATIENT = re.compile(r"[LCN]\d{3}")
# Words that anonymisers write in place of the patient's identifier.
_PLACEHOLDERS = {"", "anon", "anonymous", "anonymized", "anonymised", "none", "unknown"}


def _level_of_name(name: str) -> str | None:
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    if _FULL_WORD.search(words) and _LOW_WORD.search(words):
        return None  # "full and low dose": holds both
    return next((level for level, rule in _LEVELS.items() if rule.search(words)), None)


def dose_level(folders: Sequence[str]) -> str | None:
    """Return the dose level named by the innermost folder that names one.

    Args:
        folders: folder names, outermost first.

    Returns:
        `FULL`, `LOW`, or None where no folder tells.
    """
    levels = (_level_of_name(name) for name in reversed(folders))
    return next((level for level in levels if level), None)


def patient_key(patient_id: str, folders: Sequence[str]) -> str:
    """Return a name for the patient that may stand in stores, logs and file names.

    Identifiers of the public collections (L096, C121, N005) are kept, from the file or else
    from the innermost folder that has such a name. Every other identifier is replaced by its
    digest. Where there is no identifier, the digest is that of the innermost folder that names
    no dose level, so that the two dose levels of a patient stay together.

    Args:
        patient_id: the file's PatientID; may be blank or a placeholder.
        folders: the names of the folders that the file lies in, outermost first.

    Returns:
        The public identifier, or "case-" and eight hexadecimal digits.
    """
    patient_id = patient_id.strip()
    for candidate in (patient_id, *reversed(folders)):
        if _PUBLIC_PATIENT.fullmatch(candidate):
            return candidate
    if patient_id.lower() in _PLACEHOLDERS:
        patient_id = next((name for name in reversed(folders) if not _level_of_name(name)), "")
    return "case-" + hashlib.sha256(patient_id.encode()).hexdigest()[:8]


def patient_of_volume(name: str, folders: Sequence[str]) -> str:
    """Return a name for the patient of a volume whose file names none (NIfTI).

    Args:
        name: the file's name without its suffix.
        folders: the names of the folders that it lies in, the collection's own first.

    Returns:
        The public identifier, as `patient_key` does; where no name is one, a digest of the file's
        name and of the folders below the collection, both without the words for the dose level.
    """
    own = without_level(name)
    public = patient_key(own, folders)
    if _PUBLIC_PATIENT.fullmatch(public):
        return public
    plain = [folder for folder in folders[1:] if not _level_of_name(folder)]
    return patient_key("/".join([*plain, own]).strip("/"), ())


def without_level(name: str) -> str:
    """Return a file's name, given without its suffix, without the dose level at its end."""
    return _LEVEL_AT_END.sub("", name)


def without_collection(key: str, folders: Sequence[str]) -> str:
    """Return a patient key that does not depend on the name of the collection's own folder.

    Two collections of one patient, one for each dose level, have different names.

    Args:
        key: the result of `patient_key` for these folders.
        folders: the names of the folders, the collection's own first.

    Returns:
        `key` itself, unless it was made from folder names.
    """
    made_from_folders = not _PUBLIC_PATIENT.fullmatch(key) and key == patient_key("", folders)
    return patient_key("", folders[1:]) if made_from_folders else key


def layout(folders: Sequence[str]) -> str:
    """Return the public collection that is laid out in this way, or "own folders"."""
    words = re.sub(r"[^a-z0-9]+", " ", "/".join(folders).lower())
    return next((name for name, rule in _LAYOUTS.items() if rule.search(words)), "own folders")
