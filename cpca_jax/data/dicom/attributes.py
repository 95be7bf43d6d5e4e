"""Checked access to the attributes of one DICOM file; whatever fails is a `DicomError`.

pydicom raises a dozen kinds of exception, at reading or only when a value is asked for, and
quotes values in its messages. Here each becomes one line that names the file and the
attribute, and quotes no text that could belong to a patient.
"""

import hashlib
import math
import re
import warnings
from typing import Any, Protocol, runtime_checkable

from cpca_jax.errors import DicomError

# pydicom's warnings quote values. For the whole process, because a filter set for the time of a
# call is not safe among threads, and files are read by several.
warnings.filterwarnings("ignore", module=r"pydicom\b")


@runtime_checkable
class Dataset(Protocol):
    """What is needed of pydicom's Dataset."""

    def get(self, key: str) -> Any:
        """The value of an attribute, None where it is missing."""


class Reported:
    """Turns every exception inside into a DicomError.

    The cause is not chained: its text may quote values of the file.

    Attributes:
        name: base name of the file.
        what: the attribute or part that is being read.
    """

    def __init__(self, name: str, what: str) -> None:
        self.name = name
        self.what = what

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or type(error).__name__
            raise DicomError(f"{self.name}: cannot be read: {reason}") from None
        if isinstance(error, Exception) and not isinstance(error, DicomError):
            reason = f"{self.what} is damaged or not valid ({type(error).__name__})"
            raise DicomError(f"{self.name}: {reason}; export the file again") from None


class Attributes:
    """The attributes of one file.

    Attributes:
        name: base name of the file, for messages.
    """

    def __init__(self, name: str, dataset: Dataset) -> None:
        self.name = name
        self._dataset = dataset

    def refused(self, attribute: str, found: str, wanted: str) -> DicomError:
        """The error to raise about one attribute."""
        return DicomError(f"{self.name}: {attribute} is {found}, must be {wanted}")

    def values(self, attribute: str) -> list[Any]:
        """All values; none where the attribute is missing or blank.

        Raises:
            DicomError: the value cannot be parsed.
        """
        with Reported(self.name, attribute):
            value = self._dataset.get(attribute)
            if value is None or value == "":
                return []
            return [value] if isinstance(value, (str, bytes, int, float)) else list(value)

    def text(self, attribute: str) -> str:
        """The values as text, joined by "/"; "" where there is none.

        Raises:
            DicomError: the value cannot be parsed.
        """
        return "/".join(str(value).strip() for value in self.values(attribute))

    def numbers(self, attribute: str, count: int) -> tuple[float, ...]:
        """Exactly `count` finite numbers.

        Raises:
            DicomError: missing, another count, not numbers, or not finite.
        """
        with Reported(self.name, attribute):
            numbers = tuple(float(value) for value in self.values(attribute))
        plural = "number" if count == 1 else "numbers"
        if not numbers:
            raise self.refused(attribute, "missing", f"{count} {plural}")
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            found = ", ".join(f"{number:g}" for number in numbers[:6])
            raise self.refused(attribute, found, f"{count} finite {plural}")
        return numbers

    def number(self, attribute: str) -> float:
        """One finite number; DicomError otherwise."""
        return self.numbers(attribute, 1)[0]

    def whole(self, attribute: str, allowed: range) -> int:
        """One whole number.

        Raises:
            DicomError: missing, not a whole number, or not within `allowed`.
        """
        number = self.number(attribute)
        if number not in allowed:
            wanted = f"{allowed[0]}" + (f" to {allowed[-1]}" if len(allowed) > 1 else "")
            raise self.refused(attribute, f"{number:g}", wanted)
        return int(number)

    def require(self, attribute: str, wanted: str, *, optional: bool = False) -> None:
        """Refuse any other value.

        Args:
            attribute: the attribute's keyword.
            wanted: the only value allowed.
            optional: whether it may also be missing.

        Raises:
            DicomError: missing or another value.
        """
        found = self.text(attribute)
        if found == wanted or (optional and not found):
            return
        # A code has at most 16 capitals; anything else is not one, and is not quoted.
        shown = found if re.fullmatch(r"[A-Z0-9_ ]{1,16}", found) else "not valid"
        raise self.refused(attribute, shown if found else "missing", wanted)

    def digest(self, attribute: str) -> str:
        """16 hexadecimal digits in place of an identifier; "" where it is blank."""
        found = self.text(attribute)
        return hashlib.sha256(found.encode()).hexdigest()[:16] if found else ""
