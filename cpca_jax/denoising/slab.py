"""The number of slices that go through a network at once: as many as the device's memory holds."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp

from cpca_jax.denoising.denoiser import Denoiser, slab_program

# More slices at once are no faster. On a CPU a 2D network is as fast with one slice as with many
# (four keep the readers busy); a 3D network also computes its first maps for the neighbours of
# each slab.
_MOST, _ON_CPU_2D, _ON_CPU_3D = 32, 4, 8
# The shares of free memory that a slab may take; the rest is for copies in progress and for other
# users, of whom a CPU's memory has more.
_SHARE, _SHARE_OF_HOST = 0.8, 0.4
_MEMINFO = Path("/proc/meminfo")


def slab_bytes(model: Denoiser, shape: tuple[int, int], count: int) -> int:
    """Return the bytes of device memory for denoising `count` slices at once.

    The compiler counts them; the result is 0 for a compiler that does not.

    Args:
        model: The denoiser.
        shape: The rows and columns of a slice.
        count: The number of denoised slices; the network sees `model.slices` - 1 more.
    """
    slab = jax.ShapeDtypeStruct((count + model.slices - 1, *shape), jnp.float32)
    counted = slab_program(model).lower(model.variables, slab).compile().memory_analysis()
    if counted is None:
        return 0
    return int(
        counted.temp_size_in_bytes
        + counted.argument_size_in_bytes
        + counted.output_size_in_bytes
        - counted.alias_size_in_bytes
    )


def fitting_slab(model: Denoiser, shape: tuple[int, int], *, free_bytes: int | None = None) -> int:
    """Return the largest number of slices, a power of two, whose slab fits in memory.

    At most 32; on a CPU at most 8, or 4 for a network that sees one slice. 1 where not even one
    slice fits.

    Args:
        model: The denoiser.
        shape: The rows and columns of a slice.
        free_bytes: The bytes that a slab may take; by default 0.8 of the memory that the
            accelerator reports as free, or 0.4 of the host's available memory.
    """
    on_cpu = jax.default_backend() == "cpu"
    if free_bytes is None:
        free_bytes = _host_bytes() if on_cpu else _device_bytes()
    count = _MOST if not on_cpu else _ON_CPU_2D if model.slices == 1 else _ON_CPU_3D
    while free_bytes is not None and count > 1 and slab_bytes(model, shape, count) > free_bytes:
        count //= 2
    return count


def _device_bytes() -> int | None:
    """Return the usable share of the first accelerator's free memory; None where it is unknown."""
    stats = jax.local_devices()[0].memory_stats()
    if not stats or "bytes_limit" not in stats:
        return None
    return int(_SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))


def _host_bytes() -> int | None:
    """Return the usable share of the memory that Linux calls available; None on other systems."""
    if not _MEMINFO.exists():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
    return int(_SHARE_OF_HOST * 1024 * int(found[1])) if found else None
