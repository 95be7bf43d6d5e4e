"""Numbers that the golden script and its test both draw, so that no file need hold them.

A state dict's arrays follow from their keys, their shapes and a seed. NumPy only.
"""

import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

TRANSPOSED = re.compile(r"deconv|tconv|conv_t")


def seeded_state(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, np.ndarray]:
    """Draw arrays by key, float32, scaled so that a signal neither vanishes nor explodes."""
    return {key: _draw(key, tuple(shape), seed) for key, shape in shapes.items()}


def seeded_input(shape: Sequence[int], seed: int) -> np.ndarray:
    """Draw an image in [0, 1], float32."""
    return np.random.default_rng(seed).random(tuple(shape), dtype=np.float32)


def _draw(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    random = np.random.default_rng((seed, zlib.crc32(key.encode())))
    if not shape:
        return np.asarray(7, np.int64)  # num_batches_tracked
    if len(shape) > 1:
        maps_in = shape[0] if TRANSPOSED.search(key) else shape[1]
        sd = np.sqrt(2 / (maps_in * np.prod(shape[2:])))
        return (sd * random.standard_normal(shape)).astype(np.float32)
    if key.endswith("running_var"):
        return random.uniform(0.5, 2.0, shape).astype(np.float32)
    centre = 1.0 if key.endswith("weight") else 0.0
    return (centre + 0.1 * random.standard_normal(shape)).astype(np.float32)
