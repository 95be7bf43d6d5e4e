"""A user's metric: the mean absolute error in HU. Every table and curve then has it."""

import jax.numpy as jnp

import cpca_jax as cpca


def mean_absolute_error(compared: cpca.metrics.Compared) -> cpca.metrics.Scores:
    """Return one value per image, in HU."""
    error = jnp.mean(jnp.abs(compared.prediction - compared.target), axis=(1, 2))
    return error * compared.protocol.window.width


cpca.metrics.register(
    "mae_hu", mean_absolute_error, label="MAE", unit="HU", digits=1, better="lower"
)
