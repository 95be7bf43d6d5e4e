"""Shapes of a phantom in three dimensions, and smooth random fields.

Positions are in mm, (x, y, z): x to the right of the image (the patient's left), y downwards
(to the back), z along the patient. A depth is the distance to the surface in mm, positive
inside; it is accurate near the surface and rough elsewhere. Values are in HU.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32

Point = tuple[float, float, float]
Grid = Float32[np.ndarray, "y x"]
_TINY = np.float32(1e-4)


@dataclasses.dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid turned about the z axis, leaning with z.

    Attributes:
        centre: The centre, mm.
        radii: The half axes, mm.
        turn: The angle about z, rad.
        lean: The distances by which the centre moves along x and y per mm of z.
        power: The exponent of the norm; 2 is an ellipsoid, and larger values are squarer.
    """

    centre: Point
    radii: Point
    turn: float = 0.0
    lean: tuple[float, float] = (0.0, 0.0)
    power: float = 2.0

    def depth(self, x: Grid, y: Grid, z: float) -> Grid:
        """Return the depth of points of the slice at z, to first order in the distance."""
        a, b, c = self.radii
        dz = z - self.centre[2]
        dx = x - np.float32(self.centre[0] + self.lean[0] * dz)
        dy = y - np.float32(self.centre[1] + self.lean[1] * dz)
        cosine, sine = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        u = (dx * cosine + dy * sine) / np.float32(a)
        v = (dy * cosine - dx * sine) / np.float32(b)
        w = np.float32(abs(dz) / c)
        if self.power == 2:
            level = np.sqrt(u * u + v * v + w * w)
            slope = np.sqrt((u / a) ** 2 + (v / b) ** 2 + (w / c) ** 2) / np.maximum(level, _TINY)
        else:
            u, v, p = np.abs(u), np.abs(v), np.float32(self.power)
            level = (u**p + v**p + w**p) ** (1 / p)
            slope = np.sqrt((u ** (p - 1) / a) ** 2 + (v ** (p - 1) / b) ** 2)
            slope = slope / np.maximum(level, _TINY) ** (p - 1)
        depth: Grid = (1 - level) / np.maximum(slope, _TINY)
        return depth.astype(np.float32)

    def reach(self, z: float) -> tuple[float, float, float] | None:
        """Return centre (x, y) and radius of a disk around the shape at z; None if it misses z."""
        dz = z - self.centre[2]
        if abs(dz) > self.radii[2] + 2:
            return None
        radius = max(self.radii[:2])
        return self.centre[0] + self.lean[0] * dz, self.centre[1] + self.lean[1] * dz, radius


@dataclasses.dataclass(frozen=True)
class Tube:
    """A straight piece of vessel that tapers.

    Attributes:
        start: The start, mm.
        end: The end, mm.
        radii: The radii at the start and at the end, mm.
        hu: The value inside, HU.
    """

    start: Point
    end: Point
    radii: tuple[float, float]
    hu: float

    def depth(self, x: Grid, y: Grid, z: float) -> Grid:
        """Return the depth of points of the slice at z, exact for the rounded piece."""
        p = np.asarray(self.start, np.float32)
        d = np.asarray(self.end, np.float32) - p
        along = ((x - p[0]) * d[0] + (y - p[1]) * d[1] + (z - p[2]) * d[2]) / (d @ d)
        along = np.clip(along, 0, 1)
        off = (x - p[0] - along * d[0]) ** 2 + (y - p[1] - along * d[1]) ** 2
        off += (np.float32(z) - p[2] - along * d[2]) ** 2
        radius = self.radii[0] + (self.radii[1] - self.radii[0]) * along
        depth: Grid = (radius - np.sqrt(off)).astype(np.float32)
        return depth

    def reach(self, z: float) -> tuple[float, float, float] | None:
        """Return centre (x, y) and radius of a disk around the piece at z; None if it misses z."""
        wide = max(self.radii)
        low, high = sorted((self.start[2], self.end[2]))
        if not low - wide - 1 < z < high + wide + 1:
            return None
        span = np.subtract(self.end, self.start)
        x, y, _ = np.add(self.start, self.end) / 2
        return float(x), float(y), float(np.hypot(span[0], span[1]) / 2 + wide)


@dataclasses.dataclass(frozen=True)
class Organ:
    """An organ, which is painted over everything painted before it.

    Attributes:
        parts: The shapes whose union is the organ.
        hu: The mean value inside, HU.
        texture_hu: The standard deviation of the fine texture, HU.
        without: The shapes that are cut out of it.
        wall_mm: The thickness of a wall of another value, mm; 0 for none.
        wall_hu: The value of that wall, HU.
        gas_above: The part of the lumen that is filled with gas, from the front, 0 to 1.
        in_cavity: Whether the abdominal cavity bounds it.
    """

    parts: tuple[Ellipsoid, ...]
    hu: float
    texture_hu: float = 6.0
    without: tuple[Ellipsoid, ...] = ()
    wall_mm: float = 0.0
    wall_hu: float = 0.0
    gas_above: float = 0.0
    in_cavity: bool = True


class SmoothField:
    """A stationary random field of mean 0 and variance 1 that is smooth over some mm.

    It is white noise on nodes, summed with Gaussian weights whose squares add up to 1.
    """

    def __init__(
        self,
        random: np.random.Generator,
        z: Float[np.ndarray, " z"],
        axis: Float[np.ndarray, " n"],
        correlation_mm: float,
    ) -> None:
        """Draw the field for slices at `z` of square images with pixels at `axis`, mm."""
        self._z = _Weights(z, correlation_mm)
        self._axis = _Weights(axis, correlation_mm)
        nodes = (self._z.count, self._axis.count, self._axis.count)
        self._nodes = random.standard_normal(nodes, np.float32)

    def at(self, slice_index: int) -> Grid:
        """Return the field in one slice."""
        weights = self._z.matrix[slice_index]
        near = np.flatnonzero(weights > 1e-3)
        nodes = np.tensordot(weights[near], self._nodes[near[0] : near[-1] + 1], 1)
        field: Grid = self._axis.matrix @ nodes @ self._axis.matrix.T
        return field


class _Weights:
    """Gaussian weights from nodes one correlation length apart to places along one axis."""

    def __init__(self, places: Float[np.ndarray, " n"], correlation_mm: float) -> None:
        low = np.floor(places.min() / correlation_mm) - 3
        high = np.ceil(places.max() / correlation_mm) + 3
        nodes = np.arange(low, high + 1) * correlation_mm
        distance = (places[:, None] - nodes) / correlation_mm
        weights = np.exp(-(distance**2))
        self.count = len(nodes)
        self.matrix = (weights / np.linalg.norm(weights, axis=1)[:, None]).astype(np.float32)
