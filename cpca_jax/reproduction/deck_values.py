"""The numbers that the deck prints (Shan et al. 2017), to compare with ours."""

from typing import NamedTuple


class Printed(NamedTuple):
    """A row of the deck's table: PSNR (dB), SSIM, and the distance of VGG19 features."""

    psnr: float
    ssim: float
    perceptual: float


# From the slide "Quantitative Analysis": 1300 slices of 512x512 from the Mayo challenge.
TABLE: dict[str, Printed] = {
    "low dose": Printed(26.07, 0.8340, 4.81),
    "RED-CNN": Printed(31.39, 0.9194, 4.31),
    "WGAN-VGG": Printed(28.88, 0.8957, 2.55),
    "CPCA-1": Printed(29.62, 0.8976, 2.37),
    "CPCA-3": Printed(29.84, 0.9004, 2.06),
    "CPCA_TF-3": Printed(30.00, 0.9031, 2.01),
    "CPCA-5": Printed(30.00, 0.9023, 1.99),
    "CPCA_TF-5": Printed(30.04, 0.9032, 1.90),
    "CPCA-7": Printed(30.01, 0.9029, 1.96),
    "CPCA_TF-7": Printed(30.14, 0.9045, 1.87),
}

# The patients of the 2016 AAPM-Mayo challenge, from which the deck's slices come.
MAYO_PATIENTS = frozenset([
    "L067",
    "L096",
    "L109",
    "L143",
    "L192",
    "L286",
    "L291",
    "L310",
    "L333",
    "L506",
])
