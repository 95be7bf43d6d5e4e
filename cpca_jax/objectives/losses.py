"""Terms of the objectives, one value per example; the caller reduces and weights them.

All arrays are in network range. The deck's objective is
L = L_adversarial + lambda_p L_perceptual (Shan et al. 2017); the perceptual term is in
`perceptual`, and the gradient penalty is in `penalties`.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from cpca_jax.registry import Registry
from cpca_jax.types import Scalar, Scalars, Scores, Slabs


def mse(prediction: Slabs, target: Slabs) -> Scores:
    """Return the mean squared difference over all voxels of each example."""
    return jnp.mean((prediction - target) ** 2, axis=(1, 2, 3, 4))


def l1(prediction: Slabs, target: Slabs) -> Scores:
    """Return the mean absolute difference over all voxels of each example."""
    return jnp.mean(jnp.abs(prediction - target), axis=(1, 2, 3, 4))


PIXEL_LOSSES: dict[str, Callable[[Slabs, Slabs], Scores]] = {"mse": mse, "l1": l1}


def wasserstein_estimate(real: Scores, fake: Scores) -> Scalar:
    """Return the critic's estimate of the Wasserstein-1 distance, E[D(full)] - E[D(denoised)].

    Arjovsky et al. 2017, eq. 2. It is large at first and falls as the generator learns; it is only
    meaningful while the critic's gradient norm stays near 1.
    """
    return jnp.mean(real) - jnp.mean(fake)


@dataclasses.dataclass(frozen=True)
class Adversarial:
    """The terms that critic and generator minimise, given scores of full dose and denoised.

    Full dose is called real and denoised is called fake. The sign and size of a term mean nothing
    on their own.
    """

    critic: Callable[[Scores, Scores], Scalar]
    generator: Callable[[Scores], Scalar]


ADVERSARIAL: Registry[Adversarial] = Registry(
    "adversarial form",
    {
        # Arjovsky et al. 2017; the deck's form.
        "wasserstein": Adversarial(
            critic=lambda real, fake: -wasserstein_estimate(real, fake),
            generator=lambda fake: -jnp.mean(fake),
        ),
        # Goodfellow et al. 2014, with the generator's term in its non-saturating form; scores are
        # logits. GAN-3D uses it (Wolterink et al. 2017).
        "cross_entropy": Adversarial(
            critic=lambda real, fake: jnp.mean(jax.nn.softplus(-real) + jax.nn.softplus(fake)),
            generator=lambda fake: jnp.mean(jax.nn.softplus(-fake)),
        ),
        # Miyato et al. 2018, with spectral normalisation.
        "hinge": Adversarial(
            critic=lambda real, fake: jnp.mean(jax.nn.relu(1 - real) + jax.nn.relu(1 + fake)),
            generator=lambda fake: -jnp.mean(fake),
        ),
        # Mao et al. 2017, with targets 1 and 0.
        "least_squares": Adversarial(
            critic=lambda real, fake: jnp.mean((real - 1) ** 2 + fake**2),
            generator=lambda fake: jnp.mean((fake - 1) ** 2),
        ),
    },
)


def weighted_sum(terms: Scalars, weights: dict[str, float]) -> Scalar:
    """Return the sum of all terms times their weights; terms without a weight are only logged."""
    total = jnp.zeros((), jnp.float32)
    for name, weight in weights.items():
        if weight:
            total = total + weight * terms[name]
    return total
