"""The vessels of an abdomen; positions are in mm and values in HU, as in `anatomy`."""

from cpca_jax.simulation.phantom.shapes import Tube
from cpca_jax.simulation.phantom.variation import Draw


def mesentery(draw: Draw, hu: float) -> tuple[Tube, ...]:
    """Draw small trees in the fat of the cavity."""
    tubes: list[Tube] = []
    for _ in range(60):
        start = (draw.uniform(-35, 100), draw.uniform(-70, 50), draw.uniform(-35, 35))
        heading = draw.heading()
        tubes += draw.tree(start, heading, draw.uniform(1.2, 2.4), hu - draw.uniform(0, 40))
    return tuple(tubes)


def liver_vessels(draw: Draw, hu: float) -> tuple[Tube, ...]:
    """Draw portal branches, the three hepatic veins and a few more trees."""
    portal = draw.tree((-46, -4, 0), (-1, -0.2, 0.3), draw.uniform(5, 6.5), hu)
    left = draw.tree((-40, -18, -6), (0.2, -1, -0.4), draw.uniform(3.5, 4.5), hu)
    veins = []
    for heading in ((-1.0, 0.25, 0.2), (-0.8, -0.6, 0.1), (-0.2, -1.0, 0.2)):
        start = (-30.0, 4.0, draw.uniform(-30, -8))
        veins += draw.tree(start, heading, draw.uniform(3.5, 5), hu - 5)
    for _ in range(6):
        start = (draw.uniform(-120, -20), draw.uniform(-60, 40), draw.uniform(-25, 25))
        veins += draw.tree(start, draw.heading(), draw.uniform(2, 3), hu)
    return (*portal, *left, *veins)


def large_vessels(draw: Draw, vein_hu: float) -> tuple[Tube, ...]:
    """Draw the aorta, vena cava, portal, splenic, mesenteric and renal vessels."""
    aorta_hu = draw.uniform(150, 230)
    aorta = draw.path([(9, 20, -90), (6, 21, 0), (4, 20, 90)], (11.5, 9.5), aorta_hu)
    cava = draw.path([(-21, 18, -90), (-20, 20, 0), (-18, 22, 90)], (11, 10), vein_hu - 20)
    level = draw.uniform(-15, 15)
    portal = draw.path(
        [(6, -2, level + 14), (-18, -3, level + 4), (-48, -6, level - 6)], (7, 6.5), vein_hu
    )
    splenic = draw.path(
        [(6, -2, level + 14), (30, -3, level + 6), (58, 6, level), (84, 14, level - 4)],
        (5, 3.5),
        vein_hu,
    )
    mesenteric = draw.path([(8, 8, level), (8, -8, level + 14), (10, -12, 90)], (4, 3.5), aorta_hu)
    renal = []
    for side in (-1, 1):
        z = draw.uniform(-12, 12)
        renal += draw.path(
            [(4, 20, z), (30 * side, 30, z + 3), (58 * side, 42, z + 6)], (3.2, 2.2), aorta_hu
        )
        renal += draw.path(
            [(-16, 12, z), (30 * side, 24, z + 8), (58 * side, 40, z + 12)], (5, 3.5), vein_hu
        )
    return (*renal, *aorta, *cava, *portal, *splenic, *mesenteric)
