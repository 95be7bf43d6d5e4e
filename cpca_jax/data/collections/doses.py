"""A check that the pixels of a pair are two dose levels: the low dose must be the noisier one."""

import numpy as np
from jaxtyping import Bool, Shaped

from cpca_jax.errors import ScanError
from cpca_jax.types import VolumeHU

# The noise of the full and of the low dose, or before and after denoising, HU.
Noise = tuple[float, float]

# The range of soft tissue: neither air nor bone, and not clipped at -1024 HU.
_TISSUE_HU = (-200, 300)
_FEWEST_PIXELS = 100
_SLICES_COMPARED = 8
# A quarter of the dose doubles the noise (measured on AAPM-Mayo: 2.0 to 2.2); a ratio
# near 1 is no other dose.
_LEAST_NOISE_RATIO = 1.1
# Means over blocks are hardly touched by noise. Their correlation is 0.9999 and more between the
# doses of the AAPM-Mayo pairs, and 0.74 at most between patients; a shift by one slice is not
# visible (0.9996 where slices are 2 mm apart), and is found by comparing positions.
_BLOCK = 8
_SHOWN_HU = (-1000, 500)
_LEAST_AGREEMENT = 0.9


def dose_fraction(patient: str) -> float:
    """Return the share of the full dose that the low-dose images of a patient stand for.

    The share is a tenth for the chests (C121) of LDCT-and-Projection-data, else a quarter; no
    attribute of the files says so (collection page, doi 10.7937/9NPB-2637).
    """
    return 0.1 if patient.startswith("C") else 0.25


def check_doses(label: str, full: VolumeHU, low: VolumeHU) -> Noise:
    """Refuse pairs whose pixels cannot be two dose levels.

    Args:
        label: the pair in messages.
        full: the full dose in HU (z y x).
        low: the low dose of the same slices.

    Returns:
        The median high-frequency noise in soft tissue of the full and of the low dose, HU.

    Raises:
        ScanError: slices are equal, show no soft tissue or different anatomy, or the low dose
            is not noisier.
    """
    same = [z for z in range(len(full)) if np.array_equal(full[z], low[z])]
    if same:
        raise ScanError(
            f"{label}: {len(same)} of {len(full)} slices have the same pixels in both dose "
            "levels, must be two reconstructions"
        )
    noise = measure_noise(full, low)
    if noise is None:
        raise ScanError(f"{label}: no slice shows soft tissue to compare the noise in")
    agreement = _agreement(full, low)
    if agreement < _LEAST_AGREEMENT:
        raise ScanError(
            f"{label}: anatomy of the dose levels agrees to {agreement:.2f} only (correlation), "
            "must be two reconstructions of one scan"
        )
    full_hu, low_hu = noise
    if low_hu < _LEAST_NOISE_RATIO * full_hu or low_hu == 0:
        swapped = "; are the dose levels swapped?" if full_hu > low_hu else ""
        raise ScanError(
            f"{label}: noise is {full_hu:.1f} HU in the full and {low_hu:.1f} HU in the "
            f"low dose, the low dose must be noisier{swapped}"
        )
    return noise


def measure_noise(full: VolumeHU, low: VolumeHU) -> Noise | None:
    """Compare the noise of two dose levels in the soft tissue of a few slices.

    Args:
        full: the full dose in HU (z y x).
        low: the low dose of the same slices.

    Returns:
        The median high-frequency noise of the full and of the low dose in HU, or None where
        no slice shows soft tissue.
    """
    pairs = [noise_of_slice(full[z], low[z]) for z in _places(full)]
    measured = [noise for noise in pairs if noise]
    if not measured:
        return None
    full_hu, low_hu = np.median(measured, axis=0)
    return float(full_hu), float(low_hu)


def noise_of_slice(
    one: Shaped[np.ndarray, "y x"], other: Shaped[np.ndarray, "y x"]
) -> Noise | None:
    """Measure the noise of a slice and of its twin in the same soft tissue.

    Args:
        one: the slice in HU.
        other: the same slice at another dose, or denoised.

    Returns:
        The high-frequency noise of both in HU, or None where there is hardly any soft tissue.
    """
    # The mean of the two treats them alike, so that swapping them swaps the answer.
    mean = (one.astype(np.float32) + other) / 2
    tissue = (mean > _TISSUE_HU[0]) & (mean < _TISSUE_HU[1])
    if np.count_nonzero(tissue[1:-1, 1:-1]) < _FEWEST_PIXELS:
        return None
    return noise_sd_hu(one, tissue), noise_sd_hu(other, tissue)


def noise_sd_hu(image: Shaped[np.ndarray, "y x"], where: Bool[np.ndarray, "y x"]) -> float:
    """Estimate the noise at the highest frequencies, robustly against anatomy.

    The second difference along y of the second difference along x leaves nothing of planes
    and edges along the axes (Immerkaer, CVIU 64, 1996, whose mean of absolute values is
    replaced by the median absolute deviation). The estimate is the standard deviation for white
    noise, and below it for CT, whose noise is weak at the highest frequencies.

    Args:
        image: the slice in HU.
        where: the pixels to measure; the outermost are left out.

    Returns:
        The estimate in HU.
    """
    values = image.astype(np.float32)
    values = values[2:] - 2 * values[1:-1] + values[:-2]
    values = values[:, 2:] - 2 * values[:, 1:-1] + values[:, :-2]
    inside = values[where[1:-1, 1:-1]]
    # 36 is the sum of the squared coefficients; 1.4826 takes the deviation to sigma.
    return float(1.4826 * np.median(np.abs(inside - np.median(inside))) / 6.0)


def _places(volume: VolumeHU) -> list[int]:
    """Return the indices of the slices to compare, spread over the volume."""
    return sorted({int(z) for z in np.linspace(0, len(volume) - 1, _SLICES_COMPARED)})


def _agreement(full: VolumeHU, low: VolumeHU) -> float:
    """Return the correlation of both doses' block means; 1 where there is nothing to compare."""
    places = _places(full)
    means = [_block_means(side[places]).ravel() for side in (full, low)]
    if min(mean.size for mean in means) < 2 or min(mean.std() for mean in means) == 0:
        return 1.0
    return float(np.corrcoef(means)[0, 1])


def _block_means(slices: VolumeHU) -> Shaped[np.ndarray, "z rows columns"]:
    y, x = (length // _BLOCK for length in slices.shape[1:])
    shown = slices[:, : y * _BLOCK, : x * _BLOCK].clip(*_SHOWN_HU).astype(np.float32)
    means: Shaped[np.ndarray, "z rows columns"] = shown.reshape(
        len(slices), y, _BLOCK, x, _BLOCK
    ).mean(axis=(2, 4))
    return means
