"""What a user can mend: bad input, bad configuration. Scripts turn these into exit code 2.

A message is one line: it names the thing (file base name or configuration key), the value
found, and what would be right. It never contains a patient attribute.
"""


class InputError(Exception):
    """Something given to the program is wrong; the program itself is not."""


class ConfigError(InputError):
    """A configuration key or value is not allowed."""


class ScanError(InputError):
    """A scan cannot be used, whatever its files are."""


class DicomError(ScanError):
    """A DICOM file or series cannot be used."""


class NotCTError(DicomError):
    """A DICOM file is sound but no CT slice: another modality, a screenshot."""


class LocalizerError(NotCTError):
    """A scout view, which is no slice."""


class VolumeError(ScanError):
    """A NIfTI, HDF5, NumPy or PNG file cannot be used."""


class StoreError(InputError):
    """A store is missing, incomplete or corrupt."""


class OutputError(InputError):
    """What was to be written cannot be, or must not be there."""


class TakenError(OutputError):
    """Another process has written the same output in the meantime."""


class WeightsError(InputError):
    """Weights of a pretrained network are missing or are not what they should be."""


class CheckpointError(InputError):
    """A checkpoint is missing, corrupt, or does not fit."""


class StoppedError(Exception):
    """Asked to stop, everything saved: nothing is wrong, and the same command goes on."""
