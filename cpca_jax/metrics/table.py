"""The registry of metrics: one row makes a metric part of every table, curve and report.

A metric is a pure function of `Compared` that returns one value per image; the caller jits it.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from cpca_jax.errors import ConfigError
from cpca_jax.metrics import image
from cpca_jax.metrics.protocols import Protocol
from cpca_jax.objectives.perceptual import feature_distance
from cpca_jax.registry import Registry
from cpca_jax.types import Scores

HIGHER, LOWER, ZERO = "higher", "lower", "zero"


@dataclasses.dataclass(frozen=True)
class Compared:
    """Some slices as a metric sees them.

    Attributes:
        prediction: the denoised slices (batch, y, x), clipped to the protocol's window and mapped
            to [0, 1].
        target: the full-dose slices, likewise.
        protocol: the window and settings; an error of 1 is `protocol.window.width` HU.
        features: the features of the prediction from the feature network, (batch, fy, fx, maps).
        target_features: the features of the full dose, likewise.
    """

    prediction: Float[Array, "batch y x"]
    target: Float[Array, "batch y x"]
    protocol: Protocol
    features: Float[Array, "batch fy fx maps"]
    target_features: Float[Array, "batch fy fx maps"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of METRICS.

    Attributes:
        label: the name in tables and on axes.
        unit: the unit; "" where it has none.
        digits: the number of digits after the decimal point.
        better: "higher", "lower", or "zero" where the value nearest to zero is best.
        function: a function of `Compared` that returns one value per image.
        drawn: whether curves, sweeps and step tables show it.
        claimed: whether the deck's claims about the order of methods are tested with it.
        rounding: the difference below which two networks count as the same function.
    """

    label: str
    unit: str
    digits: int
    better: str
    function: Callable[[Compared], Scores]
    drawn: bool = True
    claimed: bool = False
    rounding: float = 1e-4

    @property
    def heading(self) -> str:
        """The label and unit, as in the heading of a column."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is better, 0 otherwise."""
        return {HIGHER: 1, LOWER: -1, ZERO: 0}[self.better]

    def worth(self, value: float) -> float:
        """Return a number that is higher for a better value."""
        return -abs(value) if self.better == ZERO else self.sign * value

    def show(self, value: float, *, signed: bool = False) -> str:
        """Return a value as text with this metric's number of digits."""
        return f"{value:{'+' if signed else ''}.{self.digits}f}"


def _psnr(compared: Compared) -> Scores:
    return image.psnr(compared.prediction, compared.target, data_range=1.0)


def _ssim(compared: Compared) -> Scores:
    settings = dataclasses.asdict(compared.protocol.ssim)
    return image.ssim(compared.prediction, compared.target, **settings)


def _rmse_hu(compared: Compared) -> Scores:
    error = image.rmse(compared.prediction, compared.target)
    return jnp.multiply(error, jnp.float32(compared.protocol.window.width))


def _bias_hu(compared: Compared) -> Scores:
    """Return the mean error where full dose lies inside the window: tissue, not air or bone."""
    error = image.bias(compared.prediction, compared.target)
    return jnp.multiply(error, jnp.float32(compared.protocol.window.width))


def _perceptual(compared: Compared) -> Scores:
    return feature_distance(compared.features, compared.target_features)


METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "psnr": Metric("PSNR", "dB", 2, HIGHER, _psnr, claimed=True, rounding=1e-3),
        "ssim": Metric("SSIM", "", 4, HIGHER, _ssim, rounding=1e-5),
        "rmse_hu": Metric("RMSE", "HU", 1, LOWER, _rmse_hu, drawn=False),
        "bias_hu": Metric("bias", "HU", 1, ZERO, _bias_hu, drawn=False),
        "perceptual": Metric("perceptual", "", 4, LOWER, _perceptual, claimed=True),
    },
)


def register(
    name: str,
    function: Callable[[Compared], Scores],
    *,
    label: str,
    better: str,
    unit: str = "",
    digits: int = 3,
    drawn: bool = True,
    claimed: bool = False,
) -> None:
    """Add a metric; every table, curve, validation and report then has it.

    Args:
        name: the key in files, such as a column of slices.csv; letters, digits and "_".
        function: a function of `Compared` that returns one value per image.
        label: the name in tables.
        better: "higher", "lower" or "zero" (nearest to zero).
        unit: the unit of its values.
        digits: the number of digits after the decimal point.
        drawn: whether curves show it.
        claimed: whether the deck's claims about the order of methods are tested with it.

    Raises:
        ConfigError: the name is taken, or `better` is none of the three.
    """
    if better not in {HIGHER, LOWER, ZERO}:
        raise ConfigError(f"metric {name}: better is '{better}', it must be higher, lower or zero")
    METRICS.register(name, Metric(label, unit, digits, better, function, drawn, claimed))


def drawn() -> dict[str, Metric]:
    """Return the metrics that curves show, beginning with the deck's three."""
    return {name: metric for name, metric in METRICS.items() if metric.drawn}
