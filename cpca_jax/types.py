"""The array vocabulary of the package.

Axis order everywhere: batch, z (slice), y (row), x (column), channel.
Values are in network range (a HU window mapped to [0, 1], see `units`) unless a name ends in
`_hu`. Kernels are ([kz,] ky, kx, channels in, channels out), Flax's own order.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int16, Key, PyTree

# Single slices, the input of the critic and of the feature network.
Images = Float[Array, "batch y x 1"]
# Slabs of neighbouring slices, the input and output of every denoiser.
Slabs = Float[Array, "batch z y x 1"]
# The slices that a denoiser returns: the slab's centres, slices - 1 fewer.
Centres = Float[Array, "batch centres y x 1"]
# One number per example.
Scores = Float[Array, " batch"]
Scalar = Float[Array, ""]
RandomKey = Key[Array, ""]

# A leaf of a tree: an array, or its stand-in (a NumPy array on the host, a shape, a sharding).
Leaf = Any
# Nested dictionaries of arrays.
Params = PyTree[Leaf]
Scalars = dict[str, Scalar]

# A stored volume in Hounsfield units.
VolumeHU = Int16[np.ndarray, "z y x"]
# One slice of such a volume.
SliceHU = Int16[np.ndarray, "y x"]

# The input of a critic: single slices, or slabs of neighbouring slices.
Examples = Float[Array, "batch *place 1"]
# A function that scores examples; it must not couple the examples of a batch.
Say = Callable[[str], None]
CriticFn = Callable[[Examples], Scores]


@runtime_checkable
class DenoisingNetwork(Protocol):
    """A Flax module from slabs to their denoised centres, in network range."""

    @property
    def slices(self) -> int:
        """The number of neighbouring slices that one denoised slice is made from; odd."""
        ...

    @property
    def dtype(self) -> DTypeLike:
        """The dtype of the computation; parameters and answer are float32."""
        ...

    @property
    def smallest_edge(self) -> int:
        """The smallest number of rows and of columns that a slice may have."""
        ...

    def __call__(self, x: Slabs) -> Centres:
        """Denoise (batch, z, y, x, 1) to (batch, z - slices + 1, y, x, 1)."""

    # Members that every Flax module has.
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __hash__(self) -> int: ...

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Draw the initial variables."""
        ...

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the network with these variables."""
        ...

    def clone(self, **updates: Any) -> Any:
        """Copy the module with some fields changed."""
        ...
