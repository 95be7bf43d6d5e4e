"""Image metrics, one value per image. The data range is never guessed: it has no default.

They agree with scikit-image's `peak_signal_noise_ratio` and `structural_similarity` for the same
settings (tests/metrics/test_image.py). `protocols` holds the settings that reproduce the numbers
of each paper.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from cpca_jax.types import Scores

# (batch, y, x) or (batch, y, x, 1).
ImageBatch = Float[Array | np.ndarray, "batch y x *one"]


def rmse(prediction: ImageBatch, target: ImageBatch) -> Scores:
    """Return the root mean squared error per image, in the unit of the images."""
    return jnp.sqrt(_mean_squared_error(prediction, target))


def bias(prediction: ImageBatch, target: ImageBatch) -> Scores:
    """Return the mean error per image over the pixels whose target lies strictly in (0, 1).

    Images are mapped to [0, 1]: pixels that were clipped at either end of the window say nothing
    about brightness. The result is 0 where no pixel lies inside.
    """
    prediction, target = jnp.asarray(prediction), jnp.asarray(target)
    inside = ((target > 0) & (target < 1)).astype(jnp.float32)
    axes = tuple(range(1, target.ndim))
    error = jnp.sum((prediction - target) * inside, axis=axes)
    return error / jnp.maximum(jnp.sum(inside, axis=axes), 1.0)


def psnr(prediction: ImageBatch, target: ImageBatch, *, data_range: float) -> Scores:
    """Return the peak signal-to-noise ratio per image in dB, 10 log10(data_range^2 / MSE).

    Args:
        prediction: the images to judge.
        target: the reference images.
        data_range: the peak, in the unit of the images.
    """
    error = _mean_squared_error(prediction, target)
    return 10.0 * (2.0 * math.log10(data_range) - jnp.log10(error))


def ssim(
    prediction: ImageBatch,
    target: ImageBatch,
    *,
    data_range: float,
    weights: str = "uniform",
    size: int = 7,
    sigma: float = 1.5,
    sample_covariance: bool = True,
) -> Scores:
    """Return the structural similarity per image (Wang et al. 2004), averaged over full windows.

    Only windows that lie inside the image count; scikit-image crops the border likewise.

    Args:
        prediction: the images to judge.
        target: the reference images.
        data_range: the range in the stabilising constants (0.01 range)^2 and (0.03 range)^2.
        weights: "uniform" (scikit-image's default) or "gaussian" (Wang et al.).
        size: the edge of the window in pixels, odd.
        sigma: the standard deviation of the Gaussian window in pixels.
        sample_covariance: divide by N - 1 (scikit-image's default) instead of N (Wang et al.).
    """
    x, y = _grey(prediction), _grey(target)
    taps = WINDOWS[weights](size, sigma)
    moments = _window_moments(_Moments(x, y, *[jnp.zeros_like(x)] * 3), taps, axis=2)
    mean_x, mean_y, *second = _window_moments(moments, taps, axis=1)
    norm = size**2 / (size**2 - 1) if sample_covariance else 1.0
    var_x, var_y, covariance = (norm * moment for moment in second)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return jnp.mean(luminance * structure, axis=(1, 2))


def _uniform(size: int, sigma: float) -> list[float]:
    del sigma
    return [1.0 / size] * size


def _gaussian(size: int, sigma: float) -> list[float]:
    radius = size // 2
    taps = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-radius, radius + 1)]
    return [tap / sum(taps) for tap in taps]


WINDOWS: dict[str, Callable[[int, float], Sequence[float]]] = {
    "uniform": _uniform,
    "gaussian": _gaussian,
}


class _Moments(NamedTuple):
    """The means, variances and covariance of two images around each pixel, each (batch, y, x)."""

    mean_x: Array
    mean_y: Array
    var_x: Array
    var_y: Array
    covariance: Array


def _window_moments(inner: _Moments, taps: Sequence[float], *, axis: int) -> _Moments:
    """Return the moments of windows that consist of smaller windows side by side along an axis.

    The law of total variance gives them: the mean of the inner variances plus the variance of the
    inner means, each taken around its own mean. In float32, the textbook E[x^2] - E[x]^2 loses the
    digits that a comparison to 1e-6 needs.
    """
    outputs = inner.mean_x.shape[axis] - len(taps) + 1

    def weighted(values: Callable[[Callable[[Array], Array]], Array]) -> Array:
        """Sum over the inner windows; `values` computes a window's value with a given slicer."""
        total: Array = jnp.zeros((), jnp.float32)
        for k, tap in enumerate(taps):
            at = partial(lax.slice_in_dim, start_index=k, limit_index=k + outputs, axis=axis)
            total += tap * values(at)
        fixed: Array = lax.optimization_barrier(total)  # else XLA repeats it for every tap
        return fixed

    x, y = weighted(lambda at: at(inner.mean_x)), weighted(lambda at: at(inner.mean_y))
    return _Moments(
        x,
        y,
        weighted(lambda at: at(inner.var_x) + (at(inner.mean_x) - x) ** 2),
        weighted(lambda at: at(inner.var_y) + (at(inner.mean_y) - y) ** 2),
        weighted(lambda at: at(inner.covariance) + (at(inner.mean_x) - x) * (at(inner.mean_y) - y)),
    )


def _mean_squared_error(prediction: ImageBatch, target: ImageBatch) -> Scores:
    return jnp.mean((_grey(prediction) - _grey(target)) ** 2, axis=(1, 2))


def _grey(images: ImageBatch) -> Float[Array, "batch y x"]:
    images = jnp.asarray(images, jnp.float32)
    return images[..., 0] if images.ndim == 4 else images
