"""Neighbouring slices: those at the regular step of their series."""

import itertools
import math
from collections.abc import Sequence

import numpy as np


def neighbour_runs(
    positions_mm: Sequence[float], *, tolerance: float = 0.01, longest_mm: float = math.inf
) -> list[tuple[int, int]]:
    """Return the stretches of evenly spaced slices.

    The regular step is the smallest one: a gap is a missing slice, not a thicker one.

    Args:
        positions_mm: the slices' places, ascending.
        tolerance: the largest difference from the regular step, as a share of that step.
        longest_mm: the largest step; slices further apart are never neighbours.

    Returns:
        (start, stop) of each stretch, in order; together they hold every slice once. A slice
        without a neighbour is a stretch of its own.
    """
    steps = np.diff(np.asarray(positions_mm, float))
    if not steps.size:
        return [(0, len(positions_mm))] if positions_mm else []
    regular = steps.min()
    apart = (np.abs(steps - regular) > tolerance * regular) | (steps > longest_mm)
    breaks = np.flatnonzero(apart) + 1
    edges = [0, *(int(place) for place in breaks), len(positions_mm)]
    return list(itertools.pairwise(edges))
