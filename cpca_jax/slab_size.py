"""How many slices go through a network at once: as many as the device's memory holds."""

import jax
import jax.numpy as jnp

from cpca_jax.denoiser import TrainedModel, slab_program

# More slices at once make an accelerator no faster; on a CPU four do not.
_MOST, _ON_CPU = 32, 4
# Of the free memory; the rest is for copies under way and for what others hold.
_SHARE = 0.8


def slab_bytes(model: TrainedModel, shape: tuple[int, int], count: int) -> int:
    """Device memory for denoising `count` slices at once, as the compiler counts it.

    Args:
        model: the denoiser.
        shape: rows and columns of a slice.
        count: slices that are answered; the network sees slices - 1 more.
    """
    slab = jax.ShapeDtypeStruct((count + model.slices - 1, *shape), jnp.float32)
    counted = slab_program(model).lower(model.params, slab).compile().memory_analysis()
    return int(
        counted.temp_size_in_bytes
        + counted.argument_size_in_bytes
        + counted.output_size_in_bytes
        - counted.alias_size_in_bytes
    )


def fitting_slab(
    model: TrainedModel, shape: tuple[int, int], *, free_bytes: int | None = None
) -> int:
    """The most slices, a power of two, whose slab fits; 1 where not even one does.

    Args:
        model: the denoiser.
        shape: rows and columns of a slice.
        free_bytes: of device memory; by default what the device says, and 4 slices on a CPU.
    """
    if free_bytes is None:
        free_bytes = _free_bytes()
    if free_bytes is None:
        return _ON_CPU
    count = _MOST
    while count > 1 and slab_bytes(model, shape, count) > _SHARE * free_bytes:
        count //= 2
    return count


def _free_bytes() -> int | None:
    """What the first device could still give out; None where it does not say, as on a CPU."""
    stats = jax.local_devices()[0].memory_stats()
    if not stats or "bytes_limit" not in stats:
        return None
    return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
