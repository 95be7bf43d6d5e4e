"""A random abdomen in contrast phase, as shapes that `phantom` renders into slices.

The middle of the phantom is 0 in x, y and z (mm, axes as in `shapes`). The proportions are drawn
from common anatomy, not from any patient; values are in HU, in the portal-venous phase.
"""

import dataclasses

import numpy as np

from cpca_jax.simulation.phantom.shapes import Ellipsoid, Organ, Point, Tube
from cpca_jax.simulation.phantom.variation import Draw
from cpca_jax.simulation.phantom.vessels import large_vessels, liver_vessels, mesentery


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """One abdomen.

    Attributes:
        body: The outer surface.
        fat_mm: The thickness of the subcutaneous fat.
        wall_mm: The thickness of the muscular wall.
        rib_phase: The phase at which the ribs cut the slices, 0 to 1.
        muscles: The muscles of the back, painted first.
        bowel: The bowel, painted next, back to front in the order of the list.
        mesentery: The small vessels in the fat.
        organs: All organs except the bowel and the liver.
        liver: The liver, which holds the lesions.
        liver_vessels: The trees of vessels inside the liver.
        vessels: The large vessels, painted over all soft tissue.
        bones: The bones, painted last.
    """

    body: Ellipsoid
    fat_mm: float
    wall_mm: float
    rib_phase: float
    muscles: tuple[Organ, ...]
    bowel: tuple[Organ, ...]
    mesentery: tuple[Tube, ...]
    organs: tuple[Organ, ...]
    liver: Organ
    liver_vessels: tuple[Tube, ...]
    vessels: tuple[Tube, ...]
    bones: tuple[Organ, ...]


def draw_anatomy(random: np.random.Generator) -> Anatomy:
    """Draw a random abdomen, complete within about 50 mm above and below the middle.

    Args:
        random: The source of all variation.

    Returns:
        The shapes.
    """
    stature = float(random.uniform(0.97, 1.1))
    draw = Draw(random, stature)
    fat = draw.uniform(11, 27)
    wall = draw.uniform(9, 13)
    radii = (142 * stature + fat + wall - 10, 100 * stature + fat + wall - 8, 1e4)
    liver_hu = draw.uniform(75, 110)
    vein_hu = liver_hu + draw.uniform(45, 75)
    return Anatomy(
        body=Ellipsoid((0.0, draw.uniform(-3, 3), 0.0), radii, power=2.35),
        fat_mm=fat,
        wall_mm=wall,
        rib_phase=draw.uniform(0, 1),
        muscles=_muscles(draw),
        bowel=_bowel(draw),
        mesentery=mesentery(draw, vein_hu),
        organs=_organs(draw, liver_hu),
        liver=_liver(draw, liver_hu),
        liver_vessels=liver_vessels(draw, vein_hu),
        vessels=large_vessels(draw, vein_hu),
        bones=_bones(draw),
    )


def _liver(draw: Draw, hu: float) -> Organ:
    top = draw.uniform(-12, 12)
    return Organ(
        parts=(
            draw.shape((-88, -4, top), (58, 72, 90), 0.1),
            draw.shape((-56, -40, top), (58, 44, 70), -0.2),
            draw.shape((0, -60, top - 10), (46, 21, 44), -0.25),
        ),
        without=(
            draw.shape((-14, 22, 0), (36, 40, 90)),
            draw.shape((-68, 54, draw.uniform(0, 25)), (36, 38, 70), 0.5),
            draw.shape((-14, -40, 0), (4, 26, 60), 0.35),
            draw.shape((-48, 2, 20), (22, 10, 40), 0.3),
        ),
        hu=hu,
        texture_hu=draw.uniform(4, 7),
    )


def _organs(draw: Draw, liver_hu: float) -> tuple[Organ, ...]:
    spleen = Organ(
        parts=(draw.shape((104, 18, -2), (27, 46, 46), -0.25),),
        without=(draw.shape((72, 4, 0), (24, 40, 40), -0.3),),
        hu=liver_hu + draw.uniform(5, 20),
    )
    pancreas = Organ(
        parts=tuple(
            draw.shape((x, y, draw.uniform(-8, 8)), (11, 8, 13), -0.4)
            for x, y in ((-24, 0), (-10, -3), (4, -8), (18, -10), (32, -9), (46, -5), (60, 0))
        ),
        hu=draw.uniform(75, 100),
        texture_hu=16.0,
    )
    gallbladder = Organ(
        parts=(draw.shape((-52, -38, 14), (13, 19, 24), 0.5),),
        hu=draw.uniform(2, 14),
        texture_hu=2.0,
        wall_mm=1.5,
        wall_hu=60.0,
    )
    stomach = Organ(
        parts=(
            draw.shape((62, -46, -8), (42, 30, 44), 0.35),
            draw.shape((24, -58, 8), (34, 19, 22), 0.1),
        ),
        hu=draw.uniform(5, 45),
        texture_hu=12.0,
        wall_mm=4.0,
        wall_hu=75.0,
        gas_above=draw.uniform(0.1, 0.45),
    )
    return (stomach, pancreas, spleen, gallbladder, *_kidney(draw, -1), *_kidney(draw, 1))


def _kidney(draw: Draw, side: int) -> tuple[Organ, ...]:
    """Draw cortex, pyramids of the medulla, and the fat of the sinus with its pelvis."""
    whole = draw.shape((72 * side, 46, draw.uniform(-16, 16)), (25, 29, 52), -0.5 * side)
    x, y, z = whole.centre
    a, b, c = whole.radii
    pyramids = []
    for angle in np.linspace(-2.2, 2.2, 6) + draw.random.uniform(-0.2, 0.2, 6):
        # Pyramids are spread around the side that faces away from the spine and point to the sinus.
        px, py = x + side * 0.5 * a * np.cos(angle), y + 0.5 * b * np.sin(angle)
        radii = (draw.uniform(7, 10), draw.uniform(4, 6.5), draw.uniform(0.3, 0.75) * c)
        pyramids.append(Ellipsoid((px, py, z), radii, side * angle, whole.lean))
    sinus = Ellipsoid((x - side * 0.55 * a, y - 2, z), (0.62 * a, 8.0, 0.6 * c), 0.2 * side)
    pelvis = Ellipsoid((x - side * 0.6 * a, y - 1, z), (0.4 * a, 3.5, 0.4 * c), 0.2 * side)
    return (
        Organ((whole,), hu=draw.uniform(165, 205), texture_hu=5.0),
        Organ(tuple(pyramids), hu=draw.uniform(125, 150), texture_hu=8.0),
        Organ((sinus,), hu=-75.0, texture_hu=14.0),
        Organ((pelvis,), hu=draw.uniform(5, 40), texture_hu=4.0),
    )


def _bowel(draw: Draw) -> tuple[Organ, ...]:
    """Draw the colon with stool and gas, and loops of small bowel in front and on the left."""
    loops = []
    places = [(112, -22), (96, -48), (70, -72), (30, -78), (-10, -76), (108, 52), (-112, 48)]
    for x, y in places:
        loops.append(
            Organ(
                (draw.shape((x, y, draw.uniform(-20, 20)), (19, 16, 40)),),
                hu=draw.uniform(-40, 50),
                texture_hu=draw.uniform(15, 60),
                wall_mm=2.0,
                wall_hu=60.0,
                gas_above=draw.uniform(0, 0.8),
            )
        )
    for _ in range(22):
        place = (draw.uniform(-30, 105), draw.uniform(-60, 34), draw.uniform(-30, 30))
        radii = (draw.uniform(9, 19), draw.uniform(8, 13), draw.uniform(9, 24))
        loops.append(
            Organ(
                (draw.shape(place, radii, draw.uniform(0, 3)),),
                hu=draw.uniform(10, 45),
                texture_hu=9.0,
                wall_mm=2.2,
                wall_hu=draw.uniform(80, 115),
                gas_above=max(0.0, draw.uniform(-0.6, 0.35)),
            )
        )
    return tuple(loops)


def _bones(draw: Draw) -> tuple[Organ, ...]:
    """Draw one vertebra, extended along z."""
    marrow = draw.uniform(150, 230)

    def bone(centre: Point, radii: Point, turn: float, cortex_mm: float) -> Organ:
        shape = Ellipsoid((centre[0], centre[1] * draw.stature, centre[2]), radii, turn)
        return Organ((shape,), marrow, 32.0, (), cortex_mm, 560.0, in_cavity=False)

    canal = Organ(
        (Ellipsoid((0, 76 * draw.stature, 0), (10, 8.5, 1e4)),), 28.0, 4.0, in_cavity=False
    )
    cord = Organ(
        (Ellipsoid((0, 76 * draw.stature, 0), (5.5, 4.5, 1e4)),), 48.0, 3.0, in_cavity=False
    )
    return (
        bone((-22, 79, 6), (18, 4.2, 18), 0.3, 1.6),
        bone((22, 79, 6), (18, 4.2, 18), -0.3, 1.6),
        bone((0, 101, 0), (3.6, 17, 60), 0.0, 1.4),
        bone((0, 79, 0), (16, 13.5, 1e4), 0.0, 1.8),
        bone((0, 50, 0), (23 * draw.stature, 18 * draw.stature, 1e4), 0.0, 1.5),
        canal,
        cord,
    )


def _muscles(draw: Draw) -> tuple[Organ, ...]:
    """Draw the erector, square and psoas muscles on both sides of the spine."""
    nominal = (
        ((36, 93, 0), (31, 19, 1e4), 0.12),
        ((64, 69, 0), (19, 9, 1e4), 0.5),
        ((33, 56, 40), (13, 17, 80), 0.2),
    )
    return tuple(
        Organ(
            (draw.shape((side * centre[0], centre[1], centre[2]), radii, -side * turn),),
            hu=57.0,
            texture_hu=9.0,
            in_cavity=False,
        )
        for centre, radii, turn in nominal
        for side in (-1, 1)
    )
