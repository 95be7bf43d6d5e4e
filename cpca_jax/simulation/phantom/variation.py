"""Variation of one person's shapes around the nominal ones, and the branching of vessels."""

import numpy as np
from jaxtyping import Float

from cpca_jax.simulation.phantom.shapes import Ellipsoid, Point, Tube

Vector = Float[np.ndarray, " xyz"]


class Draw:
    """Nominal shapes with a person's variation on them.

    Attributes:
        random: The source of all variation.
        stature: The factor on every position and size.
    """

    def __init__(self, random: np.random.Generator, stature: float) -> None:
        self.random = random
        self.stature = stature

    def uniform(self, low: float, high: float) -> float:
        """Draw a number between two others."""
        return float(self.random.uniform(low, high))

    def heading(self) -> Point:
        """Draw any direction; the result is not a unit vector."""
        return _point(self.random.normal(0, 1, 3))

    def shape(self, centre: Point, radii: Point, turn: float = 0.0) -> Ellipsoid:
        """Draw an ellipsoid that differs from the nominal one in place, size and angle.

        It differs by a few mm, about a tenth in size and a few degrees.
        """
        x, y, z = (c * self.stature + self.uniform(-4, 4) for c in centre)
        a, b, c = (r * self.stature * self.uniform(0.9, 1.12) for r in radii)
        lean = (self.uniform(-0.25, 0.25), self.uniform(-0.25, 0.25))
        return Ellipsoid((x, y, z), (a, b, c), turn + self.uniform(-0.15, 0.15), lean)

    def path(self, points: list[Point], radii: tuple[float, float], hu: float) -> list[Tube]:
        """Draw a vessel through points that tapers evenly."""
        places = [tuple(c * self.stature + self.uniform(-2, 2) for c in point) for point in points]
        widths = np.linspace(radii[0], radii[1], len(points))
        return [
            Tube(_point(places[i]), _point(places[i + 1]), (widths[i], widths[i + 1]), hu)
            for i in range(len(points) - 1)
        ]

    def tree(self, start: Point, heading: Point, radius: float, hu: float) -> list[Tube]:
        """Draw a vessel that forks until it is thinner than 0.6 mm.

        The sum of radius^3 is kept at a fork (Murray 1926).
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
