"""How large each benchmark is: on a CPU, on an accelerator, and for the tests."""

import dataclasses

from benchmarks.timing import Patience

FLOAT32, BFLOAT16 = "float32", "bfloat16"
_CPU_PATIENCE = Patience(rounds=7, seconds=15.0)


@dataclasses.dataclass(frozen=True)
class StepCase:
    """One training step to time.

    Attributes:
        batch: patches of one update.
        critic_steps: critic updates before the generator's.
        precision: in which both networks compute.
    """

    batch: int
    critic_steps: int = 4
    precision: str = FLOAT32


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What `measure` of each script is given.

    Attributes:
        steps: training steps, the most telling first.
        patch: edge of the training patches.
        narrow: networks of a few maps: for the tests.
        edge: rows and columns of a slice.
        depths: slices that CPCA looks at, one row each.
        centres: slices denoised at once by a 2D and by a 3D network, as many as denoise.py does.
        precisions: in which the generator computes.
        series: slices of the DICOM series.
        runs: (slices that the denoiser looks at, whether the series is compressed); a denoiser
            that looks at 0 slices is "identity".
        phantom: slices of the phantoms.
        simulated: slices whose noise is simulated; `physics` works on four at once.
        product: edge of the matrices whose product is a ceiling.
        convolution_batch: images of the convolutions that are ceilings.
        traffic: numbers that the ceiling of memory moves.
        patience: how long to measure anything.
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
# Nothing that it measures means anything.
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


def chosen(name: str, backend: str) -> Sizes:
    """The sizes of that name; "usual" are those for the backend."""
    if name == "tiny":
        return TINY
    return CPU if backend == "cpu" else ACCELERATOR
