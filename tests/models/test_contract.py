"""A network from outside that breaks the contract of shapes is refused in one sentence."""

import flax.linen as nn
import jax.numpy as jnp
import pytest
from jax.typing import DTypeLike

from cpca_jax.errors import ConfigError
from cpca_jax.layers import BatchNorm
from cpca_jax.models.contract import require_network


class Sound(nn.Module):
    """A network that keeps the contract; each of the others here breaks it in one way."""

    slices: int = 3
    dtype: DTypeLike = jnp.float32

    smallest_edge = 3

    @nn.compact
    def __call__(self, x):
        return BatchNorm(dtype=self.dtype)(x[:, 1:-1]).astype(jnp.float32)


class KeepsAllSlices(Sound):
    @nn.compact
    def __call__(self, x):
        return x


class ForeignNorm(Sound):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(x[:, 1:-1])


class FourAxes(Sound):
    @nn.compact
    def __call__(self, x):
        batch, y, x_, channels = x.shape
        return x.reshape(batch, y, x_, channels)


class GivesFourAxes(Sound):
    @nn.compact
    def __call__(self, x):
        return x[:, 1]


class Crops(Sound):
    @nn.compact
    def __call__(self, x):
        return x[:, 1:-1, 1:-1, 1:-1]


class HalfPrecise(Sound):
    @nn.compact
    def __call__(self, x):
        return x[:, 1:-1].astype(jnp.bfloat16)


class Remembers(Sound):
    @nn.compact
    def __call__(self, x):
        self.variable("memory", "last", jnp.zeros, (1,))
        return x[:, 1:-1]


class TwoAnswers(Sound):
    @nn.compact
    def __call__(self, x):
        return x[:, 1:-1], x


class NoDtype(nn.Module):
    slices: int = 3
    smallest_edge = 3


class NoSmallestEdge(nn.Module):
    slices: int = 3
    dtype: DTypeLike = jnp.float32


def test_a_sound_network_is_taken():
    require_network(Sound(), "mine")


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (KeepsAllSlices(), "keeps all 5 slices of a slab; with slices = 3 it must give the 3"),
        (ForeignNorm(), "normalises by flax's own BatchNorm"),
        (FourAxes(), r"cannot take a slab \(batch, z, y, x, 1\)"),
        (GivesFourAxes(), "gives 4 axes"),
        (Crops(), r"gives \(2, 3, 8, 5, 1\) for z = 5; it must give \(2, 3, 10, 7, 1\)"),
        (HalfPrecise(), "answers in bfloat16; it must be float32"),
        (Remembers(), "keeps the collection 'memory'"),
        (TwoAnswers(), "gives several values"),
        (NoDtype(), "has no field 'dtype'"),
        (NoSmallestEdge(), "has smallest_edge = None"),
        (Sound(slices=2), "has slices = 2; it must be odd"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_network_that_breaks_the_contract_is_refused_in_one_sentence(network, sentence):
    with pytest.raises(ConfigError, match=rf"^model mine: {sentence}[^\n]*docs/networks.md\)$"):
        require_network(network, "mine")
