"""Checked access to the attributes of one DICOM file; every failure is a `DicomError`.

pydicom raises a dozen kinds of exception, on reading or only when a value is used, and
quotes values in its messages. Here each becomes one line that names the file and the
attribute, and quotes no text that could belong to a patient.
"""

import hashlib
import math
import re
import warnings
from typing import Any, Protocol, runtime_checkable

from cpca_jax.errors import DicomError
from cpca_jax.runtime import circumstances

# pydicom's warnings quote values. The filter holds for the whole process, because a filter for the
# time of one call is not safe among threads, and several threads read files.
warnings.filterwarnings("ignore", module=r"pydicom\b")


@runtime_checkable
class Dataset(Protocol):
    """The part of pydicom's Dataset that is needed."""

    def get(self, key: str) -> Any:
        """Return the value of an attribute; None where it is missing."""


class Reported:
    """A context manager that turns every exception inside into a DicomError.

    The cause is not chained: its text may quote values of the file.

    Attributes:
        name: the base name of the file.
        what: the attribute or part that is being read.
    """

    def __init__(self, name: str, what: str) -> None:
        self.name = name
        self.what = what

    def __enter__(self) -> None:
        """Prepare nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, OSError | MemoryError):
            reason = circumstances.cause(error)
            raise DicomError(f"{self.name}: cannot be read: {reason}") from None
        if isinstance(error, Exception) and not isinstance(error, DicomError):
            reason = f"{self.what} is damaged or not valid ({type(error).__name__})"
            raise DicomError(f"{self.name}: {reason}; export the file again") from None


class Attributes:
    """The attributes of one file.

    Attributes:
        name: the base name of the file, for messages.
    """

    def __init__(self, name: str, dataset: Dataset) -> None:
        self.name = name
        self._dataset = dataset

    def refused(self, attribute: str, found: str, wanted: str) -> DicomError:
        """Return the error to raise about one attribute."""
        return DicomError(f"{self.name}: {attribute} is {found}, must be {wanted}")

    def values(self, attribute: str) -> list[Any]:
        """Return all values; none where the attribute is missing or blank.

        Raises:
            DicomError: the value cannot be parsed.
        """
        with Reported(self.name, attribute):
            value = self._dataset.get(attribute)
            if value is None or value == "":
                return []
            return [value] if isinstance(value, (str, bytes, int, float)) else list(value)

    def text(self, attribute: str) -> str:
        """Return the values as text, joined by "/"; "" where there is none.

        Raises:
            DicomError: the value cannot be parsed.
        """
        return "/".join(str(value).strip() for value in self.values(attribute))

    def numbers(self, attribute: str, count: int) -> tuple[float, ...]:
        """Return exactly `count` finite numbers.

        Raises:
            DicomError: the values are missing, of another count, no numbers, or not finite.
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
        """Return one finite number; raise a DicomError otherwise."""
        return self.numbers(attribute, 1)[0]

    def whole(self, attribute: str, allowed: range) -> int:
        """Return one whole number.

        Raises:
            DicomError: the value is missing, not a whole number, or not within `allowed`.
        """
        number = self.number(attribute)
        if number not in allowed:
            wanted = f"{allowed[0]}" + (f" to {allowed[-1]}" if len(allowed) > 1 else "")
            raise self.refused(attribute, f"{number:g}", wanted)
        return int(number)

    def require(self, attribute: str, wanted: str, *, optional: bool = False) -> None:
        """Refuse any value but one.

        Args:
            attribute: the attribute's keyword.
            wanted: the only value allowed.
            optional: whether it may also be missing.

        Raises:
            DicomError: the value is missing or another one.
        """
        found = self.text(attribute)
        if found == wanted or (optional and not found):
            return
        # A code has at most 16 capitals; anything else is no code, and is not quoted.
        shown = found if re.fullmatch(r"[A-Z0-9_ ]{1,16}", found) else "not valid"
        raise self.refused(attribute, shown if found else "missing", wanted)

    def digest(self, attribute: str) -> str:
        """Return 16 hexadecimal digits in place of an identifier; "" where it is blank."""
        found = self.text(attribute)
        return hashlib.sha256(found.encode()).hexdigest()[:16] if found else ""
