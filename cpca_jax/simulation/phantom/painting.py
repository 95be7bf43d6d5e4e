"""Painting the shapes of an abdomen into one slice."""

import numpy as np
from jaxtyping import Bool

from cpca_jax.simulation.phantom.anatomy import Anatomy
from cpca_jax.simulation.phantom.shapes import Ellipsoid, Grid, Organ, Tube

_AIR, _FAT, _SKIN, _MUSCLE, _GAS = -1000.0, -103.0, 15.0, 57.0, -960.0
_CORTEX, _MARROW = 560.0, 210.0
_SKIN_MM = 1.8
# This is farther than the random fields bend a shape, so that no window cuts it off.
_MARGIN_MM = 14.0

Window = tuple[slice, slice]


class Canvas:
    """One slice being painted; later shapes cover earlier ones, with soft edges.

    Attributes:
        hu: The slice so far, (y x), HU.
        parenchyma: A mask (y x) of liver without vessels.
    """

    def __init__(
        self, x: Grid, y: Grid, z: float, spacing_mm: float, texture: Grid, coarse: Grid
    ) -> None:
        """Start with an empty slice.

        Args:
            x: The bent position of each pixel to the right, mm.
            y: The bent position of each pixel downwards, mm.
            z: The position of the slice, mm.
            spacing_mm: The pixel size, mm.
            texture: The fine texture, of variance 1.
            coarse: The coarse texture, of variance 1.
        """
        self._x, self._y, self._z = x, y, z
        self._spacing = spacing_mm
        self._texture, self._coarse = texture, coarse
        self._cavity = np.zeros_like(x)
        self.hu = np.full_like(x, _AIR)
        self.parenchyma: Bool[np.ndarray, "y x"] = np.zeros(x.shape, bool)

    def paint(self, anatomy: Anatomy) -> None:
        """Paint the whole abdomen."""
        self._table(anatomy)
        depth = self._trunk(anatomy)
        for organ in (*anatomy.muscles, *anatomy.bowel):
            self._organ(organ)
        cavity = self._cover(self._cavity)
        for tube in anatomy.mesentery:
            self._tube(tube, cavity)
        for organ in anatomy.organs:
            self._organ(organ)
        liver = self._organ(anatomy.liver)
        vessels = np.zeros_like(self._x)
        for tube in anatomy.liver_vessels:
            self._tube(tube, liver, vessels)
        for tube in anatomy.vessels:
            self._tube(tube, None, vessels)
        self.parenchyma = (liver > 0.99) & (vessels < 0.01)
        self._ribs(anatomy, depth)
        for organ in anatomy.bones:
            self._organ(organ)

    def _cover(self, depth: Grid) -> Grid:
        """Return the share of each pixel that lies inside, from the depth of its middle."""
        return np.clip(depth / np.float32(self._spacing) + np.float32(0.5), 0, 1)

    def _lay(self, cover: Grid, value: "Grid | float", window: Window = (slice(None),) * 2) -> None:
        under = self.hu[window]
        under += cover * (value - under)

    def _window(self, x: float, y: float, radius: float) -> Window | None:
        """Return the pixels around a disk, or None where the disk lies outside the image."""
        size = self.hu.shape[0]
        reach = radius + _MARGIN_MM
        edges = []
        for middle in (y, x):
            low = int((middle - reach) / self._spacing + size / 2)
            high = int((middle + reach) / self._spacing + size / 2) + 1
            low, high = max(low, 0), min(high, size)
            if low >= high:
                return None
            edges.append(slice(low, high))
        return edges[0], edges[1]

    def _union(self, parts: tuple[Ellipsoid, ...], window: Window) -> Grid | None:
        x, y = self._x[window], self._y[window]
        depths = [p.depth(x, y, self._z) for p in parts if p.reach(self._z) is not None]
        return np.maximum.reduce(depths) if depths else None

    def _trunk(self, anatomy: Anatomy) -> Grid:
        """Paint skin, fat, muscular wall and the fat of the cavity; return the depth in muscle."""
        depth = anatomy.body.depth(self._x, self._y, self._z)
        height = self._y / np.float32(anatomy.body.radii[1])
        # There is more fat towards the back, and more muscle next to the midline in front.
        fat = np.float32(anatomy.fat_mm) * (1 + np.float32(0.25) * height) + self._coarse
        rectus = np.exp(-(((np.abs(self._x) - 32) / 22) ** 2)) * (height < 0)
        wall = np.float32(anatomy.wall_mm) * (np.float32(0.8) + np.float32(0.4) * rectus)
        inner = depth - fat - wall
        seam = np.float32(0.0)
        for part in (0.36, 0.7):
            seam = seam + np.exp(-(((depth - fat - np.float32(part) * wall) / 0.7) ** 2))
        # The layers of the side wall separate; the two rectus muscles leave a gap between them.
        seam = 0.7 * seam * (np.abs(self._x) > 60) + np.exp(-((self._x / 3) ** 2)) * (height < 0)
        strands = np.maximum(self._texture - np.float32(1.2), 0)
        fatty = np.float32(_FAT) + 5 * self._texture + 4 * self._coarse + 22 * strands
        muscle = np.float32(_MUSCLE) + 7 * self._texture - 130 * np.clip(seam, 0, 1)
        self._lay(self._cover(depth), _SKIN)
        self._lay(self._cover(depth - np.float32(_SKIN_MM)), fatty)
        self._lay(self._cover(depth - fat), muscle)
        self._lay(self._cover(inner), fatty + 3)
        self._cavity = inner
        in_muscle: Grid = depth - fat
        return in_muscle

    def _organ(self, organ: Organ) -> Grid:
        """Paint an organ and return the share of each pixel that it covers."""
        whole = np.zeros_like(self._x)
        reaches = [r for r in (p.reach(self._z) for p in organ.parts) if r is not None]
        if not reaches:
            return whole
        left, top = (min(r[i] - r[2] for r in reaches) for i in (0, 1))
        right, bottom = (max(r[i] + r[2] for r in reaches) for i in (0, 1))
        radius = min(max(right - left, bottom - top) / 2, 1e3)
        window = self._window((left + right) / 2, (top + bottom) / 2, radius)
        depth = self._union(organ.parts, window) if window is not None else None
        if window is None or depth is None:
            return whole
        cut = self._union(organ.without, window)
        if cut is not None:
            depth = np.minimum(depth, -cut)
        if organ.in_cavity:
            depth = np.minimum(depth, self._cavity[window] - 1)
        cover = self._cover(depth)
        self._lay(cover, self._inside(organ, depth, window, (top, bottom)), window)
        whole[window] = cover
        return whole

    def _inside(self, organ: Organ, depth: Grid, window: Window, span: tuple[float, float]) -> Grid:
        """Return the values of an organ: contents with texture, gas on top, wall around."""
        value = organ.hu + organ.texture_hu * self._texture[window] + 3 * self._coarse[window]
        if organ.gas_above > 0:
            # Gas gathers in front: its level is flat, bent a little like everything else.
            level = span[0] + organ.gas_above * (span[1] - span[0])
            value += self._cover(level - self._y[window]) * (_GAS - value)
        if organ.wall_mm > 0:
            wall = self._cover(organ.wall_mm - depth)
            value += wall * (organ.wall_hu + 5 * self._texture[window] - value)
        inside: Grid = value
        return inside

    def _tube(self, tube: Tube, inside: Grid | None = None, record: Grid | None = None) -> None:
        """Paint a vessel, within `inside` where that is given, and add it to `record`."""
        reach = tube.reach(self._z)
        window = self._window(*reach) if reach is not None else None
        if window is None:
            return
        cover = self._cover(tube.depth(self._x[window], self._y[window], self._z))
        if record is not None:
            np.maximum(record[window], cover, out=record[window])
        if inside is not None:
            cover = cover * inside[window]
        self._lay(cover, tube.hu, window)

    def _ribs(self, anatomy: Anatomy, depth: Grid) -> None:
        """Paint the ribs, which run downwards to the front, so that a slice cuts them obliquely."""
        x, y = self._x / anatomy.body.radii[0], self._y / anatomy.body.radii[1]
        around = np.arctan2(np.abs(x), y)
        place = (self._z + 52 * around) / 27 + anatomy.rib_phase + 0.5 * (x > 0)
        along = (place - np.round(place)) * 27
        radial = depth - np.float32(0.62 * anatomy.wall_mm)
        level = np.sqrt((along / 6) ** 2 + (radial / 3.6) ** 2)
        within = (around > 0.5) & (around < 2.0)
        rib = ((1 - level) * 3.6 * within).astype(np.float32)
        marrow = self._cover(rib - np.float32(1.3))
        value = _CORTEX + marrow * (_MARROW + 40 * self._texture - _CORTEX)
        self._lay(self._cover(rib) * within, value)

    def _table(self, anatomy: Anatomy) -> None:
        """Paint the table: a carbon shell with foam under the back."""
        below = self._y - np.float32(anatomy.body.radii[1] + 20) + (self._x / 30) ** 2
        shell = 14 - np.abs(below)
        self._lay(self._cover(shell), -930.0)
        self._lay(self._cover(shell) - self._cover(shell - 1.5), -150.0)
