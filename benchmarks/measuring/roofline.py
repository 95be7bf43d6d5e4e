"""Measure the ceilings of this machine, and derive from them the least time of a piece of work.

This is the roofline model. A ceiling is a rate: the FLOP/s or bytes/s of the quickest of several
rounds of pure arithmetic (3x3 convolutions at the networks' shapes, a matrix product) or of pure
memory traffic (one pass over an array larger than any cache). A limit is a time.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks.measuring.precisions import BFLOAT16, EXACT, FLOAT32
from benchmarks.measuring.tables import Row
from benchmarks.measuring.timing import Contestant, Patience, Times, alternate
from benchmarks.measuring.work import Work, count

# Calls of an accelerator between two waits: after each single call it would wait for Python.
_CALLS = 20
_WIDTHS = (32, 64, 256)
PRODUCT, MEMORY = "matrix product", "memory"


@dataclasses.dataclass(frozen=True)
class CeilingSizes:
    """The sizes of the work by which ceilings are measured.

    Attributes:
        slice_edge: rows and columns of the images with 32 maps.
        patch_edge: rows and columns of the images with 64 maps; a quarter of it with 256.
        batch: images of one convolution, of patches.
        matrix: edge of the square matrices.
        numbers: float32 numbers of the array that measures the memory.
        patience: the time of each measurement.
    """

    slice_edge: int
    patch_edge: int
    batch: int
    matrix: int
    numbers: int
    patience: Patience

    def images(self, width: int) -> tuple[int, int, int, int]:
        """Return the shape (batch, y, x, maps) of the images with so many maps."""
        if width == 32:
            return max(self.batch // 16, 1), self.slice_edge, self.slice_edge, width
        edge = self.patch_edge if width == 64 else self.patch_edge // 4
        return self.batch, edge, edge, width


@dataclasses.dataclass(frozen=True)
class Limit:
    """The least time of a piece of work on this machine.

    Attributes:
        seconds: the larger of the times for arithmetic and for memory.
        bound: the larger of the two, "arithmetic" or "memory".
    """

    seconds: float
    bound: str


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """The highest rates that this machine reached.

    Attributes:
        flops_per_second: by precision and by operation.
        bytes_per_second: bytes read and written.
        rows: the same as a table.
    """

    flops_per_second: Mapping[str, Mapping[str, float]]
    bytes_per_second: float
    rows: tuple[Row, ...]

    def best(self, precision: str) -> float:
        """Return the FLOP/s of the quickest operation in a precision."""
        return max(self.flops_per_second[precision].values())

    def limit(self, work: Work, precision: str) -> Limit:
        """Return the larger of FLOPs at the best rate and bytes at the rate of the memory."""
        arithmetic, memory = work.flops / self.best(precision), work.bytes / self.bytes_per_second
        bound = "arithmetic" if arithmetic >= memory else "memory"
        return Limit(max(arithmetic, memory), bound)


def measure_ceilings(sizes: CeilingSizes) -> Ceilings:
    """Measure the ceilings of this machine, in every precision that it computes in quickly."""
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
    array = jnp.ones(sizes.numbers, jnp.float32)
    run = _repeated(jax.jit(lambda x: x + 1.0), calls, array)
    moved = alternate({MEMORY: run}, sizes.patience)[MEMORY].per(calls)
    traffic = 2 * array.nbytes / moved.least
    rows.append(_row(MEMORY, FLOAT32, moved) | {"GB/s": traffic / 1e9})
    return Ceilings(rates, traffic, tuple(rows))


def _row(name: str, precision: str, times: Times) -> dict[str, Any]:
    return {"what": name, "precision": precision, "seconds": times, "GFLOP/s": None, "GB/s": None}


def _arithmetic(
    sizes: CeilingSizes, precision: str, calls: int
) -> tuple[dict[str, Work], dict[str, Contestant]]:
    """Return, for each operation, the work of one call and a contestant that makes all calls."""
    dtype = jnp.bfloat16 if precision == BFLOAT16 else jnp.float32
    exact = lax.Precision.HIGHEST if precision == EXACT else None
    random = np.random.default_rng(0)

    def draw(*shape: int) -> Array:
        return jnp.asarray(random.standard_normal(shape, np.float32), dtype)

    work, contestants = {}, {}
    for width in _WIDTHS:
        shape = sizes.images(width)
        images, kernel = draw(*shape), draw(3, 3, width, width)
        name = f"3x3 convolution, {' x '.join(map(str, shape))}"
        function = partial(_convolve, exact=exact)
        work[name] = count(function, images, kernel)
        contestants[name] = _repeated(jax.jit(function), calls, images, kernel)
    matrix = draw(sizes.matrix, sizes.matrix)
    name = f"{PRODUCT}, {sizes.matrix}"
    multiply = partial(jnp.matmul, precision=exact)
    work[name] = count(multiply, matrix, matrix)
    contestants[name] = _repeated(jax.jit(multiply), calls, matrix, matrix)
    return work, contestants


def _convolve(images: Array, kernel: Array, *, exact: lax.Precision | None) -> Array:
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        images, kernel, (1, 1), "VALID", dimension_numbers=numbers, precision=exact
    )


def _repeated(function: Any, calls: int, *arguments: Array) -> Contestant:
    """Return a contestant that makes several calls and waits once for all of them."""
    return lambda: jax.block_until_ready([function(*arguments) for _ in range(calls)])
