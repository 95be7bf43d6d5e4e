"""Networks computed the slow, plain way with NumPy and SciPy: oracles of the JAX ones."""

import numpy as np
from scipy.signal import correlate


def leaky(x: np.ndarray, slope: float = 0.2) -> np.ndarray:
    return np.where(x > 0, x, slope * x)


def same_convolution(maps: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Convolve (y, x, cin) with (3, 3, cin, cout) under TensorFlow's 'SAME' padding."""
    out = [-(-n // stride) for n in maps.shape[:2]]
    pads = []
    for length, outputs in zip(maps.shape[:2], out, strict=True):
        total = max((outputs - 1) * stride + 3 - length, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(maps, (*pads, (0, 0)))
    result = [
        sum(
            correlate(padded[..., i], kernel[..., i, o], "valid")[::stride, ::stride]
            for i in range(maps.shape[-1])
        )
        for o in range(kernel.shape[-1])
    ]
    return np.stack(result, axis=-1)


def critic(params: dict, image: np.ndarray) -> float:
    """Return the critic's score of one (y, x) image."""
    maps = image[..., None].astype(np.float64)
    convolutions = sorted(name for name in params if name.startswith("conv"))
    for number, name in enumerate(convolutions):
        kernel, bias = (np.asarray(params[name][k], np.float64) for k in ("kernel", "bias"))
        maps = leaky(same_convolution(maps, kernel, 1 + number % 2) + bias)
    hidden = leaky(
        maps.reshape(-1) @ np.asarray(params["dense1"]["kernel"]) + params["dense1"]["bias"]
    )
    return float((hidden @ np.asarray(params["dense2"]["kernel"]) + params["dense2"]["bias"])[0])
