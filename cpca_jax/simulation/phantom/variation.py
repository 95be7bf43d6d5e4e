"""How one person's shapes differ from the nominal ones, and how vessels branch."""

import numpy as np
from jaxtyping import Float

from cpca_jax.simulation.phantom.shapes import Ellipsoid, Point, Tube

Vector = Float[np.ndarray, " xyz"]


class Draw:
    """Nominal shapes with a person's variation on them.

    Attributes:
        random: Source of all variation.
        stature: Factor on every position and size.
    """

    def __init__(self, random: np.random.Generator, stature: float) -> None:
        self.random = random
        self.stature = stature

    def uniform(self, low: float, high: float) -> float:
        """A number between two."""
        return float(self.random.uniform(low, high))

    def heading(self) -> Point:
        """Any direction; not a unit vector."""
        return _point(self.random.normal(0, 1, 3))

    def shape(self, centre: Point, radii: Point, turn: float = 0.0) -> Ellipsoid:
        """An ellipsoid a few mm, a tenth in size and a few degrees from the nominal one."""
        x, y, z = (c * self.stature + self.uniform(-4, 4) for c in centre)
        a, b, c = (r * self.stature * self.uniform(0.9, 1.12) for r in radii)
        lean = (self.uniform(-0.25, 0.25), self.uniform(-0.25, 0.25))
        return Ellipsoid((x, y, z), (a, b, c), turn + self.uniform(-0.15, 0.15), lean)

    def path(self, points: list[Point], radii: tuple[float, float], hu: float) -> list[Tube]:
        """A vessel through points, tapering evenly."""
        places = [tuple(c * self.stature + self.uniform(-2, 2) for c in point) for point in points]
        widths = np.linspace(radii[0], radii[1], len(points))
        return [
            Tube(_point(places[i]), _point(places[i + 1]), (widths[i], widths[i + 1]), hu)
            for i in range(len(points) - 1)
        ]

    def tree(self, start: Point, heading: Point, radius: float, hu: float) -> list[Tube]:
        """A vessel that forks until it is thinner than 0.6 mm.

        Cross-sections add up at a fork, radius^3 being kept (Murray 1926).
        """
        tubes: list[Tube] = []
        open_ends = [(np.array(start, float), _unit(np.array(heading, float)), radius)]
        while open_ends:
            place, along, wide = open_ends.pop()
            along = _unit(along + self.random.normal(0, 0.18, 3))
            end = place + along * self.uniform(2.5, 4.5) * (wide + 1.5)
            tubes.append(Tube(_point(place), _point(end), (wide, 0.93 * wide), hu))
            share = self.uniform(0.25, 0.5)
            for part in (share, 1 - share):
                child = 0.93 * wide * part ** (1 / 3)
                if child > 0.6:
                    bend = self.random.normal(0, 0.75 - 0.5 * part, 3)
                    open_ends.append((end, _unit(along + bend), child))
        return tubes


def _unit(vector: Vector) -> Vector:
    scaled: Vector = vector / np.linalg.norm(vector)
    return scaled


def _point(values: Vector | tuple[float, ...]) -> Point:
    x, y, z = (float(v) for v in values)
    return x, y, z
