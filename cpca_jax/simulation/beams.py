"""The geometry of a scanner's rays: fan and parallel beams.

Every ray is written in normal form: the points (x, y) with x cos(theta) + y sin(theta) = t,
x to the right, y downwards, both in mm from the isocentre, which is the centre of the image.
Values that depend only on the beam are NumPy, float64, so that they enter a compiled function as
constants without being rounded twice. Formulas: Kak and Slaney, Principles of Computerized
Tomographic Imaging, 1988, chapter 3.
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

Row = Float[np.ndarray, " n"]
Sinogram = Float[Array, "view detector"]


@dataclasses.dataclass(frozen=True)
class FanBeam:
    """A full turn of a fan on an arc detector centred on the source.

    The defaults describe the SOMATOM Definition AS+ of the AAPM-Mayo data: the two distances come
    from its DICOM headers; 736 elements of 1.2858 mm and 1152 views per turn are the usual
    description of that scanner and do not come from a header.

    Attributes:
        views: The number of source positions, spread evenly over 360 degrees.
        detectors: The number of elements of one detector row.
        detector_pitch_mm: The distance between two elements along the arc, mm.
        source_to_isocentre_mm: The radius of the source's path, mm.
        source_to_detector_mm: The radius of the detector arc, mm.
    """

    views: int = 1152
    detectors: int = 736
    detector_pitch_mm: float = 1.2858
    source_to_isocentre_mm: float = 595.0
    source_to_detector_mm: float = 1085.6

    @property
    def step(self) -> float:
        """The angle between two neighbouring rays of a view, rad."""
        return self.detector_pitch_mm / self.source_to_detector_mm

    @property
    def pitch_mm(self) -> float:
        """The distance between two neighbouring rays at the isocentre, mm."""
        return self.step * self.source_to_isocentre_mm

    @property
    def turn(self) -> float:
        """The angle that the views cover, rad."""
        return 2 * math.pi

    def coarser(self, factor: int) -> "FanBeam":
        """Return the same field and turn with about 1/factor of the views and detectors."""
        detectors = math.ceil(self.detectors / factor)
        return dataclasses.replace(
            self,
            views=math.ceil(self.views / factor),
            detectors=detectors,
            detector_pitch_mm=self.detector_pitch_mm * self.detectors / detectors,
        )

    def fan_angles(self) -> Row:
        """Return the angle of each ray to the central one, rad."""
        return _centred(self.detectors) * self.step

    def offsets_mm(self) -> Row:
        """Return the signed distance of each ray from the isocentre, mm."""
        offsets: Row = self.source_to_isocentre_mm * np.sin(self.fan_angles())
        return offsets

    def rays(self, first: float = 0.0) -> tuple[Sinogram, Sinogram]:
        """Return theta (rad) and t (mm) of each ray; `first` is the first view's place in views."""
        gamma = jnp.asarray(self.fan_angles(), jnp.float32)
        theta = jnp.asarray(angles(self, first=first), jnp.float32)[:, None] + gamma
        offset = jnp.asarray(self.offsets_mm(), jnp.float32)
        return theta, jnp.broadcast_to(offset, theta.shape)

    def ray_weights(self) -> Row:
        """Return the factor on each ray before filtering, mm (equation 99)."""
        weights: Row = self.source_to_isocentre_mm * np.cos(self.fan_angles())
        return weights

    def ramp(self, lag: Int[np.ndarray, " n"]) -> Row:
        """Return the ramp kernel at whole lags for equal angles, times the step (eq. 105-107)."""
        return _ramp(lag, np.sin(self.step * lag) / self.step, self.step) / 2

    def locate(
        self, x: Float[Array, "#y #x"], y: Float[Array, "#y #x"], angle: Float[Array, ""]
    ) -> tuple[Float[Array, "y x"], Float[Array, "y x"]]:
        """Return the places of points on the detector in one view, and the view's weight there.

        Args:
            x: The positions to the right, mm.
            y: The positions downwards, mm.
            angle: The source angle, rad.

        Returns:
            The detector index counted from the centre of the row, and 1 over the squared
            distance to the source, 1/mm2 (equation 104).
        """
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        inverse = 1 / (self.source_to_isocentre_mm + x * sine - y * cosine)
        tangent = (x * cosine + y * sine) * inverse
        return _arctan(tangent) / self.step, inverse**2 / (1 + tangent**2)


@dataclasses.dataclass(frozen=True)
class ParallelBeam:
    """Parallel rays over half a turn.

    Attributes:
        views: The number of directions, spread evenly over 180 degrees.
        detectors: The number of rays of one view.
        pitch_mm: The distance between two neighbouring rays, mm.
    """

    views: int = 720
    detectors: int = 736
    pitch_mm: float = 0.7047

    @property
    def turn(self) -> float:
        """The angle that the views cover, rad."""
        return math.pi

    def coarser(self, factor: int) -> "ParallelBeam":
        """Return the same field and turn with about 1/factor of the views and detectors."""
        detectors = math.ceil(self.detectors / factor)
        return ParallelBeam(
            views=math.ceil(self.views / factor),
            detectors=detectors,
            pitch_mm=self.pitch_mm * self.detectors / detectors,
        )

    def offsets_mm(self) -> Row:
        """Return the signed distance of each ray from the isocentre, mm."""
        return _centred(self.detectors) * self.pitch_mm

    def rays(self, first: float = 0.0) -> tuple[Sinogram, Sinogram]:
        """Return theta (rad) and t (mm) of each ray; `first` is the first view's place in views."""
        theta = jnp.asarray(angles(self, first=first), jnp.float32)[:, None]
        offset = jnp.asarray(self.offsets_mm(), jnp.float32)
        shape = (self.views, self.detectors)
        return jnp.broadcast_to(theta, shape), jnp.broadcast_to(offset, shape)

    def ray_weights(self) -> Row:
        """Return the factor on each ray before filtering, which is 1."""
        return np.ones(self.detectors)

    def ramp(self, lag: Int[np.ndarray, " n"]) -> Row:
        """Return the ramp kernel at whole lags, times the pitch, 1/mm (equation 61)."""
        return _ramp(lag, lag.astype(np.float64), self.pitch_mm)

    def locate(
        self, x: Float[Array, "#y #x"], y: Float[Array, "#y #x"], angle: Float[Array, ""]
    ) -> tuple[Float[Array, "y x"], Float[Array, "y x"]]:
        """Return the places of points on the detector in one view, and 1; see `FanBeam.locate`."""
        index = (x * jnp.cos(angle) + y * jnp.sin(angle)) / self.pitch_mm
        return index, jnp.ones_like(index)


Beam = FanBeam | ParallelBeam


def angles(beam: Beam, *, first: float = 0.0) -> Row:
    """Return the angle of each view in rad; `first` is the place of the first one in views."""
    return (np.arange(beam.views) + first) * beam.turn / beam.views


def _centred(count: int) -> Row:
    """Return whole steps counted from the middle: -1.5, -0.5, 0.5, 1.5 for four."""
    return np.arange(count) - (count - 1) / 2


def _ramp(lag: Int[np.ndarray, " n"], distance: Row, step: float) -> Row:
    """Return the band-limited ramp over `step`.

    It is 1/4 at lag 0, -1/(pi distance)^2 at odd lags and 0 at other lags.
    """
    odd = lag % 2 == 1
    kernel = np.where(lag == 0, 0.25, 0.0)
    kernel[odd] = -1 / (math.pi * distance[odd]) ** 2
    return kernel / step


def _arctan(x: Float[Array, "y x"]) -> Float[Array, "y x"]:
    """Return the arc tangent for |x| < 0.6, to within 2e-7.

    It is a minimax polynomial, because the library's function is not vectorised on a CPU and took
    six times as long as all the rest of a backprojection.
    """
    s = x * x
    series = 1 + s * (-0.33325662 + s * (0.19816225 + s * (-0.12781606 + s * 0.05676487)))
    return x * series
