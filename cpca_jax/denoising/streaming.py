"""Denoising a series as it is read: only a few slices are held at a time."""

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

# Threads that decode files; decoders release the interpreter.
_READERS = 2


class Stopwatch:
    """Seconds spent in each activity, of all threads together."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def running(self, activity: str) -> Iterator[None]:
        """Count the time of the block for `activity`."""
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
    """Denoise slices one batch after another while the next are being read.

    At most two batches and the network's neighbours are held. At the two ends of the series
    slices are replicated. A slice that is flat within the network's window has nothing to
    denoise and comes back as it is.

    Args:
        model: the denoiser.
        read: gives slice z; called from several threads.
        count: number of slices.
        batch: slices denoised at once.
        watch: counts "reading" and "network".

    Yields:
        Each slice in order, and its denoised HU (y x).

    Raises:
        InputError: whatever `read` raises, and slices too small for the network.
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
    seen = np.clip(image.hu, model.window.low, model.window.high)
    return bool(seen.min() == seen.max())
