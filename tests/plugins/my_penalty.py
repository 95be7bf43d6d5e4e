"""A user's gradient penalty: the distance of the norm from 1, not squared."""

import jax.numpy as jnp

import cpca_jax as cpca


def absolute(critic, key, real, fake):
    """Return | |grad D| - 1 | on the line between full dose and denoised."""
    points = cpca.penalties.between(key, real, fake)
    norm = cpca.penalties.input_gradient_norm(critic, points)
    return cpca.penalties.PenaltyTerms(jnp.abs(norm - 1.0), norm)


cpca.penalties.register("absolute", absolute, weight=10.0, source="this module")
