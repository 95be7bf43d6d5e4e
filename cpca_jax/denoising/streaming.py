"""The denoising of a series while it is read; only a few slices are in memory at a time."""

import collections
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float32

from cpca_jax.data.dicom.slice_file import Slice
from cpca_jax.denoising.denoiser import Denoiser, denoise_slices

# The number of threads that decode files; decoders release the interpreter lock.
_READERS = 2


class Stopwatch:
    """The seconds spent in each activity, summed over all threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def running(self, activity: str) -> Iterator[None]:
        """Add the time that the block takes to `activity`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[activity] += time.perf_counter() - start


def denoise_stream(
    model: Denoiser,
    read: Callable[[int], Slice],
    count: int,
    *,
    batch: int,
    watch: Stopwatch,
) -> Iterator[tuple[Slice, Float32[np.ndarray, "y x"]]]:
    """Denoise slices batch by batch while the next ones are being read.

    At most two batches and the neighbours that the network needs are in memory. At both ends of
    the series, slices are replicated. A slice that is flat within the network's window has nothing
    to denoise and is returned unchanged.

    Args:
        model: The denoiser.
        read: A function that returns slice z; it is called from several threads.
        count: The number of slices.
        batch: The number of slices denoised at once.
        watch: The stopwatch for the activities "reading" and "network".

    Yields:
        Each slice in order, and its denoised image (y, x) in HU.

    Raises:
        InputError: `read` raised it, or the slices are too small for the network.
    """
    half = model.slices // 2
    held: dict[int, Future[Slice]] = {}

    def timed(z: int) -> Slice:
        with watch.running("reading"):
            return read(z)

    pool = ThreadPoolExecutor(_READERS)
    try:
        for start in range(0, count, batch):
            first, last = max(start - half, 0), min(start + batch + half, count)
            for z in range(first, min(last + batch, count)):
                if z not in held:
                    held[z] = pool.submit(timed, z)
            near = [held[z].result() for z in range(first, last)]
            with watch.running("network"):
                volume_hu = np.stack([one.hu for one in near])
                denoised = denoise_slices(model, volume_hu, start - first, batch)
            for z in range(start, min(start + batch, count)):
                image = near[z - first]
                yield image, image.hu if _is_flat(model, image) else denoised[z - start]
            for z in [z for z in held if z < start + batch - half]:
                del held[z]
    finally:
        pool.shutdown(cancel_futures=True)


def _is_flat(model: Denoiser, image: Slice) -> bool:
    """Tell whether a slice has a single value within the network's window."""
    seen = np.clip(image.hu, model.window.low, model.window.high)
    return bool(seen.min() == seen.max())
