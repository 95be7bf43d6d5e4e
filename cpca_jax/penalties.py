"""Regularisers of the critic: pure functions of (critic, key, real, fake), by name.

A penalty returns one value per example and, for the log, the gradient norm it looked at. A new
one is a function and a row in PENALTIES.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from cpca_jax.types import CriticFn, Images, RandomKey, Scores

# Under the root: keeps the second derivative of the norm finite where the gradient is zero.
EPSILON = 1e-12


class PenaltyTerms(NamedTuple):
    """What a penalty gives, per example, before its weight."""

    value: Scores
    gradient_norm: Scores


Penalty = Callable[[CriticFn, RandomKey, Images, Images], PenaltyTerms]


def between(key: RandomKey, real: Images, fake: Images) -> Images:
    """Points drawn uniformly on the line from real to fake, one number per example.

    Gulrajani et al. 2017, algorithm 1.
    """
    share = jax.random.uniform(key, (real.shape[0], 1, 1, 1))
    return share * real + (1 - share) * fake


def input_gradient_norm(critic: CriticFn, images: Images) -> Scores:
    """Euclidean norm over all pixels of the gradient of each example's score.

    The gradient of the summed scores holds every example's own gradient, because the critic does
    not couple examples. Computed in float32.
    """
    gradient = jax.grad(lambda x: jnp.sum(critic(x)))(images).astype(jnp.float32)
    return jnp.sqrt(jnp.sum(gradient**2, axis=(1, 2, 3)) + EPSILON)


def two_sided(critic: CriticFn, key: RandomKey, real: Images, fake: Images) -> PenaltyTerms:
    """WGAN-GP: (|grad D| - 1)^2 on the line between real and fake; published weight 10.

    Gulrajani et al. 2017, eq. 3; the deck's formula. The norm is over all pixels of an example.
    The released CPCE code sums over image rows only and so penalises each column.
    """
    norm = input_gradient_norm(critic, between(key, real, fake))
    return PenaltyTerms((norm - 1.0) ** 2, norm)


PENALTIES: dict[str, Penalty] = {"two_sided": two_sided}
