"""Regularisers of the critic, by name: a laboratory of gradient penalties.

A penalty is a pure function (critic, key, real, fake) -> PenaltyTerms: one value per example,
which is weighted, and for the log the gradient norm at the points it looked at. A new one is a
function and a row of PENALTIES. Weight clipping and spectral normalisation act on the critic's
weights instead; their rows carry a `constraints.Constraint`. docs/penalties.md shows how to write
a penalty and what the curves of each one look like.

Critics here score full dose high. Norms are Euclidean, over all pixels of an example.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from cpca_jax.objectives.constraints import (
    SPECTRAL_NORM,
    UNCONSTRAINED,
    WEIGHT_CLIPPING,
    Constraint,
)
from cpca_jax.registry import Registry
from cpca_jax.types import CriticFn, Examples, RandomKey, Scores

# Added under the root, it keeps the norm's second derivative finite where the gradient is zero.
EPSILON = 1e-12


class PenaltyTerms(NamedTuple):
    """The result of a penalty per example, before it is weighted."""

    value: Scores
    gradient_norm: Scores


Penalty = Callable[[CriticFn, RandomKey, Examples, Examples], PenaltyTerms]


def between(key: RandomKey, real: Examples, fake: Examples) -> Examples:
    """Draw points uniformly on the line from real to fake, with one number per example.

    Gulrajani et al. 2017, algorithm 1.
    """
    share = _one_number_each(key, real)
    return share * real + (1 - share) * fake


def around(key: RandomKey, real: Examples) -> Examples:
    """Draw points between full dose and a noisy copy of it, with one number per example.

    Kodali et al. 2017 (DRAGAN), released code: the noise is uniform in [0, 1] times half the
    standard deviation of the whole batch.
    """
    noise_key, share_key = jax.random.split(key)
    noise = 0.5 * jnp.std(real) * jax.random.uniform(noise_key, real.shape)
    return real + _one_number_each(share_key, real) * noise


def input_gradient(critic: CriticFn, examples: Examples) -> Examples:
    """Return the gradient of each example's own score with respect to its pixels, float32.

    The gradient of the summed scores holds them all, because the critic does not couple examples.
    """
    gradient: Array = jax.grad(lambda x: jnp.sum(critic(x)))(examples)
    return gradient.astype(jnp.float32)


def input_gradient_norm(critic: CriticFn, examples: Examples) -> Scores:
    """Return the Euclidean norm, over all pixels, of the gradient of each example's score."""
    gradient = input_gradient(critic, examples)
    return _norm(gradient, tuple(range(1, gradient.ndim)))


def two_sided(critic: CriticFn, key: RandomKey, real: Examples, fake: Examples) -> PenaltyTerms:
    """Return the penalty of WGAN-GP, (|grad D| - 1)^2 on the line between real and fake.

    Gulrajani et al. 2017, eq. 3; the deck's formula.
    """
    norm = input_gradient_norm(critic, between(key, real, fake))
    return PenaltyTerms((norm - 1.0) ** 2, norm)


def one_sided(critic: CriticFn, key: RandomKey, real: Examples, fake: Examples) -> PenaltyTerms:
    """Return the penalty of WGAN-LP, max(0, |grad D| - 1)^2 on the line.

    Slopes below 1 cost nothing: this is all that a 1-Lipschitz function must fulfil (Petzka et al.
    2018, eq. 8).
    """
    norm = input_gradient_norm(critic, between(key, real, fake))
    return PenaltyTerms(jax.nn.relu(norm - 1.0) ** 2, norm)


def zero_centred(critic: CriticFn, key: RandomKey, real: Examples, fake: Examples) -> PenaltyTerms:
    """Return the zero-centred penalty, |grad D|^2 on the line between real and fake.

    "wgangp0" in the released code of Mescheder et al. 2018; Thanh-Tung et al. 2019.
    """
    norm = input_gradient_norm(critic, between(key, real, fake))
    return PenaltyTerms(norm**2, norm)


def r1(critic: CriticFn, key: RandomKey, real: Examples, fake: Examples) -> PenaltyTerms:
    """Return the penalty R1, |grad D|^2 / 2 at full dose.

    Mescheder et al. 2018, eq. 9. Their released code leaves the 1/2 out.
    """
    norm = input_gradient_norm(critic, real)
    return PenaltyTerms(0.5 * norm**2, norm)


def r2(critic: CriticFn, key: RandomKey, real: Examples, fake: Examples) -> PenaltyTerms:
    """Return the penalty R2, |grad D|^2 / 2 at denoised slices (Mescheder et al. 2018, eq. 10)."""
    norm = input_gradient_norm(critic, fake)
    return PenaltyTerms(0.5 * norm**2, norm)


def dragan(critic: CriticFn, key: RandomKey, real: Examples, fake: Examples) -> PenaltyTerms:
    """Return DRAGAN's penalty, (|grad D| - 1)^2 around full dose (Kodali et al. 2017, its code)."""
    norm = input_gradient_norm(critic, around(key, real))
    return PenaltyTerms((norm - 1.0) ** 2, norm)


def wgan_div(critic: CriticFn, key: RandomKey, real: Examples, fake: Examples) -> PenaltyTerms:
    """Return the penalty of WGAN-div, |grad D|^6 on the line (Wu et al. 2018, eq. 8, p = 6)."""
    norm = input_gradient_norm(critic, between(key, real, fake))
    return PenaltyTerms(norm**6, norm)


def as_released(critic: CriticFn, key: RandomKey, real: Examples, fake: Examples) -> PenaltyTerms:
    """Return the penalty of the authors' code, the mean of (|column of grad D| - 1)^2.

    The released code of CPCE, WGAN-VGG and MAP-NN sums the squares over rows only and averages
    over the image's columns. At its optimum the whole image's norm is the square root of the
    number of columns (8 for 64x64), not 1. The logged norm is that of the whole example, so that
    it can be compared with the others.
    """
    gradient = input_gradient(critic, between(key, real, fake))
    columns = _norm(gradient, (gradient.ndim - 3, gradient.ndim - 1))
    value = jnp.mean((columns - 1.0) ** 2, axis=tuple(range(1, columns.ndim)))
    return PenaltyTerms(value, _norm(gradient, tuple(range(1, gradient.ndim))))


def unpenalised(critic: CriticFn, key: RandomKey, real: Examples, fake: Examples) -> PenaltyTerms:
    """Return zero; the norm on the line is still measured, for the log."""
    norm = input_gradient_norm(critic, between(key, real, fake))
    return PenaltyTerms(jnp.zeros_like(norm), norm)


@dataclasses.dataclass(frozen=True)
class Regulariser:
    """A row of PENALTIES, which is called like its penalty.

    Attributes:
        penalty: the pure function.
        weight: its published weight.
        source: the origin of the weight and the formula.
        constraint: the constraint on the critic's weights, for the two that need no penalty.
    """

    penalty: Penalty
    weight: float
    source: str
    constraint: Constraint = UNCONSTRAINED

    def __call__(
        self, critic: CriticFn, key: RandomKey, real: Examples, fake: Examples
    ) -> PenaltyTerms:
        """Return the terms of the penalty."""
        return self.penalty(critic, key, real, fake)


PENALTIES: Registry[Regulariser] = Registry(
    "penalty",
    {
        "two_sided": Regulariser(two_sided, 10.0, "WGAN-GP, Gulrajani et al. 2017"),
        "one_sided": Regulariser(one_sided, 5.0, "WGAN-LP, Petzka et al. 2018, code's default"),
        "zero_centred": Regulariser(zero_centred, 10.0, "Mescheder et al. 2018, code's reg_param"),
        "r1": Regulariser(r1, 10.0, "R1, Mescheder et al. 2018"),
        "r2": Regulariser(r2, 10.0, "R2, Mescheder et al. 2018"),
        "dragan": Regulariser(dragan, 10.0, "DRAGAN, Kodali et al. 2017"),
        "wgan_div": Regulariser(wgan_div, 2.0, "WGAN-div, Wu et al. 2018 (its code: 10)"),
        "as_released": Regulariser(as_released, 10.0, "released code of CPCE, Shan et al. 2018"),
        "weight_clipping": Regulariser(
            unpenalised, 0.0, "WGAN, Arjovsky et al. 2017, c = 0.01", WEIGHT_CLIPPING
        ),
        "spectral_norm": Regulariser(
            unpenalised, 0.0, "Miyato et al. 2018, one power iteration", SPECTRAL_NORM
        ),
    },
)


def register(
    name: str,
    penalty: Penalty,
    *,
    weight: float,
    source: str = "",
    constraint: Constraint = UNCONSTRAINED,
) -> None:
    """Add a penalty (docs/penalties.md).

    Args:
        name: its name in `config.loss.penalty`.
        penalty: a pure function (critic, key, real, fake) -> PenaltyTerms.
        weight: its usual weight.
        source: the origin of the formula and the weight.
        constraint: a constraint on the critic's weights, in addition to the penalty.

    Raises:
        ConfigError: the name is taken.
    """
    PENALTIES.register(name, Regulariser(penalty, weight, source, constraint))


def _norm(gradient: Array, axes: tuple[int, ...]) -> Array:
    return jnp.sqrt(jnp.sum(gradient**2, axis=axes) + EPSILON)


def _one_number_each(key: RandomKey, examples: Examples) -> Array:
    """Draw one number in [0, 1) per example, shaped so that it multiplies the examples."""
    return jax.random.uniform(key, (examples.shape[0], *[1] * (examples.ndim - 1)))
