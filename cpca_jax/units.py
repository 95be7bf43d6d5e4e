"""Hounsfield units and the network's range, both defined here only.

A network sees a HU window mapped linearly to [0, 1] and clipped; the deck's code uses
[-300, 300] HU (Shan et al. 2018, released code).
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Int16, Num

# Air and the lowest value of a 12-bit CT image; the floor of what a store may hold.
AIR_HU = -1024
HIGHEST_HU = 32767


def whole_hu(hu: Num[np.ndarray, "*shape"]) -> Int16[np.ndarray, "*shape"]:
    """Return values rounded to whole HU and clipped to [-1024, 32767], as stores hold them."""
    whole: Int16[np.ndarray, "*shape"] = np.clip(np.rint(hu), AIR_HU, HIGHEST_HU).astype(np.int16)
    return whole


@dataclasses.dataclass(frozen=True)
class Window:
    """An interval [low, high] in HU that is mapped to [0, 1].

    Attributes:
        low: the value in HU that becomes 0.
        high: the value in HU that becomes 1.
    """

    low: float
    high: float

    @property
    def width(self) -> float:
        """The width in HU, which is also an error of 1 in network range."""
        return self.high - self.low

    def normalise(self, hu: ArrayLike) -> Array:
        """Convert HU to network range, float32, clipped to [0, 1]."""
        scaled = (jnp.asarray(hu, jnp.float32) - self.low) / self.width
        return jnp.clip(scaled, 0.0, 1.0)

    def to_hu(self, network_range: ArrayLike) -> Array:
        """Convert network range to HU, float32; the inverse of `normalise` inside the window."""
        return jnp.asarray(network_range, jnp.float32) * self.width + self.low

    def contains(self, other: "Window") -> bool:
        """Tell whether `other` lies inside this window."""
        return self.low <= other.low and other.high <= self.high

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}] HU"


# The window in which slices are shown: that of the deck's second case study, for soft tissue.
DISPLAY = Window(-160, 240)
