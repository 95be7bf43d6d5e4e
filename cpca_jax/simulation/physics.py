"""Dose and noise: the noise that a scan at a given dose adds to a slice.

Noise is drawn ray by ray where the scanner measures it, in the line integrals, and only the
noise is filtered and backprojected; the slice itself is never reconstructed again, so that it
keeps its sharpness and its kernel. A ray with the line integral p and N photons sent out
measures p with the variance

    v(N) = e^p / N + sigma^2 e^(2p) / N^2,

where the terms are photons and electronics (Zeng et al., IEEE Trans Nucl Sci 62:2226, 2015; Yu et
al., J Comput Assist Tomogr 36:477, 2012). A scan at the fraction a of the dose has v(a N); the
noise that is added to a full-dose slice to get there has v(a N) - v(N). Volumes are (z y x) in HU.
"""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key, Num

from cpca_jax.errors import InputError
from cpca_jax.simulation.beams import Beam, FanBeam, Sinogram
from cpca_jax.simulation.projection import project_quickly, reconstruct
from cpca_jax.types import RandomKey

VolumeF = Float[np.ndarray, "z y x"]

# The slices reconstructed together: four cost half of what they cost singly, more save little.
_SLICES_AT_ONCE = 4
# A pixel below this is not noisy air but a scanner's mark for pixels outside its field.
_PADDING_HU = -1200.0
# The radius of the water cylinder whose shape the bowtie filter compensates.
_BOWTIE_RADIUS_MM = 160.0
# These separate the noise of a full-dose scan from that of a lower dose with the same seed.
_FULL_DOSE, _EXTRA = 0, 1


@dataclasses.dataclass(frozen=True)
class Scanner:
    """A CT scanner, described as far as its noise requires.

    Attributes:
        beam: The geometry of the rays; the default is the fan of a SOMATOM Definition AS+.
        photons: The number of photons along the central ray of a mean view at full dose. It is
            fitted so that the phantoms' quarter dose has a PSNR of 26 dB against full dose in
            [-300, 300] HU, as the deck reports. Yu et al. (2012) state 2.25e5 for their scanner.
        electronic_noise: The standard deviation of the electronics, in photons: the square root
            of the variance 8 of Yu et al. (2012).
        bowtie: The share of a 320 mm water cylinder that the bowtie filter compensates: 0 is no
            filter, and 1 gives every ray through the cylinder the same number of photons.
        modulation: The exponent m of the tube current of a view, which is proportional to
            exp(m * largest line integral); 0.5 is the optimum of Gies et al., Med Phys 26:2235,
            1999; 0 is no modulation.
        cutoff_per_mm: The frequency, 1/mm, where the Hann window of the kernel reaches 0. With
            the default, a B30f kernel's transfer of 0.5 at 0.35/mm is left after the blur of
            detector and focal spot, which affects the signal but not the noise.
        water_per_mm: The linear attenuation of water, 1/mm; 0.0192 in DICOM-CT-PD headers.
    """

    beam: Beam = dataclasses.field(default_factory=FanBeam)
    photons: float = 2.0e5
    electronic_noise: float = 2.83
    bowtie: float = 0.4
    modulation: float = 0.5
    cutoff_per_mm: float = 0.78
    water_per_mm: float = 0.0192


DEFAULT_SCANNER = Scanner()


def full_dose(
    truth_hu: Num[np.ndarray, "z y x"],
    *,
    spacing_mm: float,
    seed: int,
    scanner: Scanner = DEFAULT_SCANNER,
) -> VolumeF:
    """Scan a noiseless volume at full dose.

    Args:
        truth_hu: The noiseless slices, square, with the isocentre in the middle, HU.
        spacing_mm: The pixel size, mm.
        seed: The seed; the noise depends only on it and on the index of the slice.
        scanner: The scanner.

    Returns:
        The volume with photon and electronic noise, HU, not clipped. Slices have independent
        noise.

    Raises:
        InputError: Slices that are not square, or a pixel size that is not positive.
    """
    return _add_noise(truth_hu, spacing_mm, (math.inf, 1.0), (seed, _FULL_DOSE), scanner)


def lower_dose(
    volume_hu: Num[np.ndarray, "z y x"],
    *,
    spacing_mm: float,
    dose: float,
    seed: int,
    scanner: Scanner = DEFAULT_SCANNER,
) -> VolumeF:
    """Simulate a full-dose volume at a fraction of the dose.

    Args:
        volume_hu: The full-dose slices, square, with the isocentre in the middle, HU.
        spacing_mm: The pixel size, mm.
        dose: The fraction of the full dose, above 0 and at most 1.
        seed: The seed; the noise depends only on it and on the index of the slice. Other doses
            with the same seed get the same pattern, scaled.
        scanner: The scanner that made `volume_hu`.

    Returns:
        The volume plus the noise that the lower dose adds, HU, not clipped. Slices have
        independent noise.

    Raises:
        InputError: A dose outside (0, 1], slices that are not square, or a pixel size that
            is not positive.
    """
    if not 0 < dose <= 1:
        raise InputError(f"dose: {dose:g}; it must be above 0 and at most 1")
    return _add_noise(volume_hu, spacing_mm, (1.0, dose), (seed, _EXTRA), scanner)


def require_square(shape: tuple[int, ...], spacing_mm: float) -> None:
    """Refuse slices that are not square and a pixel size that is not positive.

    Args:
        shape: The shape (z y x) of a volume.
        spacing_mm: The pixel size, mm.

    Raises:
        InputError: The slices are not square, or the pixel size is not positive.
    """
    _, rows, columns = shape
    if rows != columns:
        raise InputError(f"volume: slices of {rows} x {columns} pixels; they must be square")
    if not spacing_mm > 0:
        raise InputError(f"spacing_mm: {spacing_mm:g}; it must be above 0")


def _add_noise(
    volume_hu: Num[np.ndarray, "z y x"],
    spacing_mm: float,
    doses: tuple[float, float],
    seed: tuple[int, int],
    scanner: Scanner,
) -> VolumeF:
    """Return the volume plus the noise between two doses, computed a few slices at a time."""
    require_square(volume_hu.shape, spacing_mm)
    slices = len(volume_hu)
    key = jax.random.fold_in(jax.random.key(seed[0]), seed[1])
    noisy = np.array(volume_hu, np.float32)
    group = min(_SLICES_AT_ONCE, slices)
    # The last group is filled up with its last slice: one shape needs one compilation.
    for start in range(0, slices, group):
        index = np.minimum(np.arange(start, start + group), slices - 1)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        noise = noise_slices(
            jnp.asarray(volume_hu[index], jnp.float32),
            keys,
            jnp.asarray(doses, jnp.float32),
            spacing_mm=float(spacing_mm),
            scanner=scanner,
        )
        noisy[start : start + group] += np.asarray(noise)[: slices - start]
    return noisy


@partial(jax.jit, static_argnames=("spacing_mm", "scanner"))
def noise_slices(
    slices_hu: Float[Array, "z n n"],
    keys: Key[Array, " z"],
    doses: Float[Array, "2"],
    *,
    spacing_mm: float,
    scanner: Scanner,
) -> Float[Array, "z n n"]:
    """Draw the noise that a scan at the second dose has beyond one at the first.

    Args:
        slices_hu: The scanned slices, HU.
        keys: One random key per slice, (z).
        doses: The fractions of the full dose, falling; infinite is a scan without noise.
        spacing_mm: The pixel size, mm.
        scanner: The scanner.

    Returns:
        The noise, of mean 0, HU.
    """
    # Air is not clipped at 0: the noise in it must cancel along a ray, not add up.
    density = jnp.where(slices_hu < _PADDING_HU, 0.0, slices_hu / 1000 + 1)

    def draw(image: Float[Array, "n n"], key: RandomKey) -> Sinogram:
        integrals = project_quickly(image, spacing_mm, beam=scanner.beam)
        photons = scanner.photons * flux(integrals, scanner)
        before, after = (
            variance(integrals, dose * photons, scanner.electronic_noise) for dose in doses
        )
        return jnp.sqrt(jnp.maximum(after - before, 0.0)) * jax.random.normal(key, integrals.shape)

    noise = reconstruct(
        jax.vmap(draw)(density * scanner.water_per_mm, keys),
        size=slices_hu.shape[1],
        spacing_mm=spacing_mm,
        beam=scanner.beam,
        cutoff_per_mm=scanner.cutoff_per_mm,
    )
    noise_hu: Array = noise * (1000 / scanner.water_per_mm)
    return noise_hu


def variance(integrals: Sinogram, photons: Sinogram, electronic_noise: float) -> Sinogram:
    """Return the variance of measured line integrals by the module's formula.

    Args:
        integrals: The true line integrals.
        photons: The number of photons sent out along each ray; infinite gives 0.
        electronic_noise: The standard deviation of the electronics, in photons.

    Returns:
        The variance, which has no unit.
    """
    # Logarithms are used because infinite photons times a vanishing transmission are undefined.
    # At least one photon arrives, or else a ray through much metal would have infinite variance.
    arriving = jnp.exp(jnp.maximum(jnp.log(photons) - integrals, 0.0))
    return 1 / arriving + (electronic_noise / arriving) ** 2


def flux(integrals: Sinogram, scanner: Scanner) -> Sinogram:
    """Return the photons sent out along each ray, relative to the central ray of a mean view.

    The bowtie filter attenuates the outer rays because the water cylinder attenuates them less,
    and the tube current follows the largest line integral of a view. The current's mean over views
    is 1 in every slice: modulation along z is left out.

    Args:
        integrals: The line integrals of one slice.
        scanner: The scanner.

    Returns:
        The relative number of photons.
    """
    largest = scanner.modulation * jnp.max(integrals, axis=1)
    current = jax.nn.softmax(largest) * largest.size
    return current[:, None] * jnp.asarray(_bowtie(scanner), jnp.float32)


def _bowtie(scanner: Scanner) -> Float[np.ndarray, " detector"]:
    """Return the share of the central photons that passes the filter towards each detector."""
    offset = np.abs(scanner.beam.offsets_mm())
    chord = 2 * np.sqrt(np.maximum(_BOWTIE_RADIUS_MM**2 - offset**2, 0.0))
    spared = 2 * _BOWTIE_RADIUS_MM - chord
    share: Float[np.ndarray, " detector"] = np.exp(-scanner.bowtie * scanner.water_per_mm * spared)
    return share
