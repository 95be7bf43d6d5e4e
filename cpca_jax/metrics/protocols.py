"""Named definitions of PSNR and SSIM: window, mapping, ranges, SSIM kernel, aggregation.

The same pair of images scores 14 to 38 dB under the definitions in use, so a number without its
protocol means nothing; every table prints the name. In all of them HU are clipped to a window,
mapped to [0, 1], scored per slice, and averaged over slices.
"""

import dataclasses

from cpca_jax.registry import Registry
from cpca_jax.units import Window


@dataclasses.dataclass(frozen=True)
class SSIM:
    """Settings of the structural similarity on images mapped to [0, 1]."""

    data_range: float = 1.0
    weights: str = "uniform"
    size: int = 7
    sigma: float = 1.5
    sample_covariance: bool = True


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A definition of the scores of a slice.

    Attributes:
        name: the name, which every table prints.
        window: the HU window to which slices are clipped, mapped to [0, 1]; the PSNR peak is 1.
        ssim: the settings of the structural similarity.
        source: the publication whose numbers it reproduces.
    """

    name: str
    window: Window
    ssim: SSIM
    source: str

    @property
    def description(self) -> str:
        """One line for the head of a table."""
        kind = "sample" if self.ssim.sample_covariance else "population"
        return (
            f"{self.name}: window {self.window} mapped to [0, 1]; PSNR peak 1; SSIM "
            f"{self.ssim.size}x{self.ssim.size} {self.ssim.weights}, {kind} covariance, range "
            f"{self.ssim.data_range:g}, border cropped; mean over slices ({self.source})"
        )


_WANG = SSIM(weights="gaussian", size=11, sample_covariance=False)
_BENCHMARK = "ldct-benchmark, Eulig et al. 2024"

PROTOCOLS: Registry[Protocol] = Registry(
    "protocol",
    {
        protocol.name: protocol
        for protocol in (
            # Reproduces the deck's second case study to every digit it prints (22.82 dB, 0.799).
            # The SSIM range of 2 is an old default for float images, twice the correct value.
            Protocol("deck", Window(-300, 300), SSIM(data_range=2.0), "Shan et al. 2017"),
            Protocol(
                "deck-range1", Window(-300, 300), SSIM(), "the deck with the SSIM range corrected"
            ),
            Protocol("abdomen-160-240", Window(-160, 240), _WANG, "Yang et al. 2018"),
            Protocol("benchmark-chest", Window(-1350, 150), SSIM(), _BENCHMARK),
            Protocol("benchmark-abdomen", Window(-150, 250), SSIM(), _BENCHMARK),
            Protocol("benchmark-head", Window(0, 80), SSIM(), _BENCHMARK),
            Protocol("full", Window(-1024, 3072), SSIM(), "the 12-bit range"),
        )
    },
)


def get_protocol(name: str) -> Protocol:
    """Return the protocol called `name`.

    Raises:
        ConfigError: no such protocol; the message lists them.
    """
    return PROTOCOLS.pick(name, "protocol")
