"""The conversion of denoised HU back to the values that a CT file stores."""

import numpy as np
from jaxtyping import Float32, Int32

from cpca_jax.data.dicom.slice_file import Slice


def stored_range(bits: int, signed: bool) -> tuple[int, int]:
    """Return the lowest and the highest value that this number of bits holds."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def denoised_values(
    source: Slice, denoised_hu: Float32[np.ndarray, "y x"]
) -> tuple[Int32[np.ndarray, "y x"], int]:
    """Return the stored values of a denoised slice, in the source's own scale and range.

    The change by denoising is added to the stored values of the source, so that an unchanged
    pixel keeps its value exactly, regardless of slope and rounding. Pixels outside the scan keep
    their padding value.

    Args:
        source: the slice as it was.
        denoised_hu: the same slice denoised, HU (y x).

    Returns:
        The stored values (y x), and the number of pixels clipped to the range of BitsStored.
    """
    change = (denoised_hu.astype(np.float64) - source.hu) / source.slope
    values = source.stored + np.rint(change)
    low, high = stored_range(source.bits, source.signed)
    outside = ((values < low) | (values > high)) & ~source.outside
    values = np.where(source.outside, source.stored, np.clip(values, low, high))
    return values.astype(np.int32), int(np.count_nonzero(outside))
