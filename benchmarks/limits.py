"""What the machine can do at best, measured; and what a piece of work needs at least.

Ceilings are the quickest of several rounds of work that is nothing but arithmetic, or nothing but
memory: 3x3 convolutions at the networks' shapes, a matrix product, and a pass over an array that
no cache holds.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks.counting import Work, count
from benchmarks.sizes import BFLOAT16, FLOAT32, Sizes
from benchmarks.table import Row
from benchmarks.timing import Contestant, Times, alternate

# float32 that an accelerator must not round to TensorFloat32 on the way.
EXACT = "float32, exact"
# An accelerator is given so many calls before it is waited for, or it waits for Python.
_CALLS = 20
_WIDTHS = (32, 64, 256)
PRODUCT, MEMORY = "matrix product", "memory"


@dataclasses.dataclass(frozen=True)
class Limit:
    """The least time that a piece of work can take on this machine.

    Attributes:
        seconds: of the slower of both.
        bound: which it is, "arithmetic" or "memory".
    """

    seconds: float
    bound: str


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """What the machine did at best.

    Attributes:
        flops_per_second: by precision and by what was computed.
        bytes_per_second: read and written.
        rows: the same as a table.
    """

    flops_per_second: Mapping[str, Mapping[str, float]]
    bytes_per_second: float
    rows: tuple[Row, ...]

    def best(self, precision: str) -> float:
        """FLOPs per second of whatever was quickest in a precision."""
        return max(self.flops_per_second[precision].values())

    def limit(self, work: Work, precision: str) -> Limit:
        """The larger of FLOPs at the best rate and bytes at the memory's rate."""
        arithmetic, memory = work.flops / self.best(precision), work.bytes / self.bytes_per_second
        bound = "arithmetic" if arithmetic >= memory else "memory"
        return Limit(max(arithmetic, memory), bound)


def find(sizes: Sizes) -> Ceilings:
    """Measure the ceilings of this machine."""
    calls = 1 if jax.default_backend() == "cpu" else _CALLS
    precisions = [FLOAT32] if jax.default_backend() == "cpu" else [FLOAT32, EXACT, BFLOAT16]
    rates: dict[str, dict[str, float]] = {}
    rows: list[Row] = []
    for precision in precisions:
        work, contestants = _arithmetic(sizes, precision, calls)
        times = alternate(contestants, sizes.patience)
        found = {name: work[name].flops / times[name].per(calls).least for name in contestants}
        rates[precision] = found
        rows += [
            _row(name, precision, times[name].per(calls)) | {"GFLOP/s": rate / 1e9}
            for name, rate in found.items()
        ]
    array = jnp.ones(sizes.traffic, jnp.float32)
    run = _repeated(jax.jit(lambda x: x + 1.0), calls, array)
    moved = alternate({MEMORY: run}, sizes.patience)[MEMORY].per(calls)
    traffic = 2 * array.nbytes / moved.least
    rows.append(_row(MEMORY, FLOAT32, moved) | {"GB/s": traffic / 1e9})
    return Ceilings(rates, traffic, tuple(rows))


def _row(name: str, precision: str, times: Times) -> dict[str, Any]:
    return {"what": name, "precision": precision, "seconds": times, "GFLOP/s": None, "GB/s": None}


def _arithmetic(
    sizes: Sizes, precision: str, calls: int
) -> tuple[dict[str, Work], dict[str, Contestant]]:
    """Work of one call, and so many calls, of each."""
    dtype = jnp.bfloat16 if precision == BFLOAT16 else jnp.float32
    exact = lax.Precision.HIGHEST if precision == EXACT else None
    random = np.random.default_rng(0)

    def drawn(*shape: int) -> Array:
        return jnp.asarray(random.standard_normal(shape, np.float32), dtype)

    work, contestants = {}, {}
    for width in _WIDTHS:
        shape = _shape(sizes, width)
        images, kernel = drawn(*shape), drawn(3, 3, width, width)
        name = f"3x3 convolution, {' x '.join(map(str, shape))}"
        function = partial(_convolve, exact=exact)
        work[name] = count(function, images, kernel)
        contestants[name] = _repeated(jax.jit(function), calls, images, kernel)
    matrix = drawn(sizes.product, sizes.product)
    name = f"{PRODUCT}, {sizes.product}"
    multiply = partial(jnp.matmul, precision=exact)
    work[name] = count(multiply, matrix, matrix)
    contestants[name] = _repeated(jax.jit(multiply), calls, matrix, matrix)
    return work, contestants


def _shape(sizes: Sizes, width: int) -> tuple[int, int, int, int]:
    """Images as the networks have them: CPCA's slices, VGG's and the critic's patches."""
    batch = sizes.convolution_batch
    if width == 32:
        return max(batch // 16, 1), sizes.edge, sizes.edge, width
    return batch, *((sizes.patch,) * 2 if width == 64 else (sizes.patch // 4,) * 2), width


def _convolve(images: Array, kernel: Array, *, exact: lax.Precision | None) -> Array:
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        images, kernel, (1, 1), "VALID", dimension_numbers=numbers, precision=exact
    )


def _repeated(function: Any, calls: int, *arguments: Array) -> Contestant:
    """So many calls, waited for together."""
    return lambda: jax.block_until_ready([function(*arguments) for _ in range(calls)])
