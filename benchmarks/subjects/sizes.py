"""The sizes of every benchmark: on a CPU, on an accelerator, and for the tests."""

import dataclasses

from benchmarks.measuring.precisions import BFLOAT16, FLOAT32
from benchmarks.measuring.roofline import CeilingSizes
from benchmarks.measuring.timing import Patience

USUAL_NAME, TINY_NAME = "usual", "tiny"
_CPU_PATIENCE = Patience(rounds=7, seconds=15.0)


@dataclasses.dataclass(frozen=True)
class StepCase:
    """One training step to time.

    Attributes:
        batch: patches of one update.
        critic_steps: critic updates before the generator's.
        precision: the precision of both networks.
    """

    batch: int
    critic_steps: int = 4
    precision: str = FLOAT32


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes and cases of all programs.

    Attributes:
        steps: training steps, the most telling first.
        patch: edge of the training patches, pixels.
        narrow: the networks have few maps: for the tests.
        edge: rows and columns of a slice.
        depths: the input slices of each CPCA, one row each.
        centres: slices denoised at once by a 2D and by a 3D network, as many as denoise.py takes.
        precisions: the precisions of the generator.
        series: slices of the DICOM series.
        runs: (input slices of the denoiser, the series is compressed); 0 input slices stand for
            the denoiser "identity".
        phantom: slices of the phantoms.
        simulated: slices with simulated noise; `physics` works on four at once.
        product: edge of the matrices in the ceiling of matrix products.
        convolution_batch: images in the ceilings of convolutions.
        traffic: numbers in the ceiling of memory.
        patience: the time of each measurement.
    """

    steps: tuple[StepCase, ...]
    patch: int = 64
    narrow: bool = False
    edge: int = 512
    depths: tuple[int, ...] = (1, 3, 5, 7, 9)
    centres: tuple[int, int] = (4, 8)
    precisions: tuple[str, ...] = (FLOAT32,)
    series: int = 20
    runs: tuple[tuple[int, bool], ...] = ((0, False), (0, True), (1, True), (9, True))
    phantom: int = 12
    simulated: int = 4
    product: int = 2048
    convolution_batch: int = 16
    traffic: int = 2**25
    patience: Patience = _CPU_PATIENCE

    @property
    def ceilings(self) -> CeilingSizes:
        """The sizes by which the ceilings of the machine are measured."""
        return CeilingSizes(
            slice_edge=self.edge,
            patch_edge=self.patch,
            batch=self.convolution_batch,
            matrix=self.product,
            numbers=self.traffic,
            patience=self.patience,
        )


CPU = Sizes(steps=(StepCase(16), StepCase(16, critic_steps=1)))
ACCELERATOR = Sizes(
    steps=(
        StepCase(128),
        StepCase(128, precision=BFLOAT16),
        StepCase(64),
        StepCase(16),
        StepCase(128, critic_steps=1),
        StepCase(64, precision=BFLOAT16),
        StepCase(16, precision=BFLOAT16),
    ),
    precisions=(FLOAT32, BFLOAT16),
    centres=(32, 32),
    series=60,
    product=8192,
    convolution_batch=128,
    traffic=2**28,
    patience=Patience(rounds=9, seconds=10.0),
)
# For the tests: its measurements have no meaning.
TINY = Sizes(
    steps=(StepCase(2, critic_steps=1),),
    patch=16,
    narrow=True,
    edge=32,
    depths=(1, 3),
    centres=(2, 2),
    series=3,
    runs=((1, False),),
    phantom=3,
    simulated=1,
    product=64,
    convolution_batch=1,
    traffic=2**12,
    patience=Patience(rounds=2, seconds=1.0),
)


def sizes_for(name: str, backend: str) -> Sizes:
    """Return the sizes "tiny", or the usual ones of a backend."""
    if name == TINY_NAME:
        return TINY
    return CPU if backend == "cpu" else ACCELERATOR
