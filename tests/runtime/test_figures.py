"""Figures: plain PNG bytes, and nothing set for the whole process."""

import io
import subprocess
import sys

import matplotlib.image
import numpy as np
from conftest import CHECKOUT

from cpca_jax.runtime import figures
from cpca_jax.units import Window

PANEL = ("half", np.pad(np.full((20, 10), 100.0), [(0, 0), (0, 10)]), Window(0, 100))


def chunks(png):
    names, at = [], 8
    while at < len(png):
        names.append(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4], "big")
    return names


def test_a_figure_holds_its_pixels_and_nothing_about_where_it_was_made():
    png = figures.panels([[PANEL, PANEL]])
    assert set(chunks(png)) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert figures.panels([[PANEL, PANEL]]) == png
    picture = matplotlib.image.imread(io.BytesIO(png))[..., 0]
    height, width = picture.shape
    row = picture[height // 2]
    assert (width, height) == (738, 396)
    assert (row[[width // 8, width * 5 // 8]] == 1).all()
    assert (row[[width * 3 // 8, width * 7 // 8]] == 0).all()


def test_drawing_sets_nothing_for_the_process_and_denoising_does_not_load_it():
    code = """
import sys
from cpca_jax.denoising import denoiser, folder
from cpca_jax.preparation import prepare
assert not {"matplotlib", "jinja2"} & set(sys.modules)
import matplotlib
def settings():  # asking for the backend would choose one
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
before = settings()
import numpy as np
from cpca_jax.evaluation import case_figure, report
from cpca_jax.runtime import figures
from cpca_jax.units import DISPLAY
figures.panels([[("slice", np.zeros((4, 4), np.float32), DISPLAY)]])
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT)
