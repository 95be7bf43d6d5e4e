"""Errors that a user can mend, and ends that are no errors of the program.

An `InputError` ends a program with exit code 2, a `DivergedError` with 3, a `StoppedError` with 75.
A message is one line: it names the thing (base name of a file, or configuration key), the value
that was found, and what would be right. It never contains a patient attribute.
"""


class InputError(Exception):
    """An input of the program is wrong; the program itself is not."""


class ConfigError(InputError):
    """A configuration key or value is not allowed."""


class ScanError(InputError):
    """A scan cannot be used, whatever its files are."""


class DicomError(ScanError):
    """A DICOM file or series cannot be used."""


class NotCTError(DicomError):
    """A DICOM file is sound but is not a CT slice: another modality, or a screenshot."""


class LocalizerError(NotCTError):
    """A DICOM file holds a scout view, which is not a slice."""


class VolumeError(ScanError):
    """A NIfTI, HDF5, NumPy or PNG file cannot be used."""


class StoreError(InputError):
    """A store is missing, incomplete or corrupt."""


class OutputError(InputError):
    """An output cannot be written, or must not be written at this place."""


class TakenError(OutputError):
    """Another process wrote the same output in the meantime."""


class WeightsError(InputError):
    """Weights of a pretrained network are missing or are not what they should be."""


class CheckpointError(InputError):
    """A checkpoint is missing or corrupt, or does not fit the experiment."""


class NotFiniteError(InputError):
    """A network gave numbers that are not finite."""


class StoppedError(Exception):
    """The program was asked to stop and saved everything; the same command continues its work."""


class DivergedError(FloatingPointError):
    """A training reached numbers that are not finite; its last sound checkpoint is intact."""

    def __init__(self, fact: str, advice: str) -> None:
        """Join what happened and what the user can do; `fact` has no full stop."""
        super().__init__(f"{fact}. {advice}")
        self.fact = fact
