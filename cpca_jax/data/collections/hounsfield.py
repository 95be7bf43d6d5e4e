"""A check that numbers without a unit can be HU."""

import numpy as np

from cpca_jax.errors import VolumeError

# CT holds air, lung or at least fat: a lowest value above this is not in HU. Most files that
# fail hold units that begin at 0 (stored values, windowed 8-bit images, [0, 1]).
_LOWEST_ABOVE = -50.0
_RANGE = np.iinfo(np.int16)


def require_hu(name: str, lowest: float, highest: float) -> None:
    """Refuse values that cannot be HU.

    Args:
        name: the base name of the file, for the message.
        lowest: the lowest value of a volume; not finite where any value is not.
        highest: the highest value, likewise.

    Raises:
        VolumeError: values are not finite, constant, beyond int16, or all above -50.
    """
    if not np.isfinite([lowest, highest]).all():
        raise VolumeError(f"{name}: has voxels that are not finite, must be HU")
    outside = lowest < _RANGE.min or highest > _RANGE.max
    if lowest > _LOWEST_ABOVE or outside or highest <= lowest:
        raise VolumeError(
            f"{name}: values lie between {lowest:g} and {highest:g}, must be HU (air near -1000)"
        )
