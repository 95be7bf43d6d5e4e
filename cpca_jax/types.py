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

# Single slices, the critic's and the feature network's input.
Images = Float[Array, "batch y x 1"]
# Slabs of neighbouring slices, every denoiser's input and output.
Slabs = Float[Array, "batch z y x 1"]
# The slices a denoiser answers with: the slab's centres, slices - 1 fewer.
Centres = Float[Array, "batch centres y x 1"]
# One number per example.
Scores = Float[Array, " batch"]
Scalar = Float[Array, ""]
RandomKey = Key[Array, ""]

# A leaf of a tree: an array, or what stands for one (NumPy on the host, a shape, a sharding).
Leaf = Any
# Nested dictionaries of arrays.
Params = PyTree[Leaf]
Scalars = dict[str, Scalar]

# A stored volume in Hounsfield units.
VolumeHU = Int16[np.ndarray, "z y x"]
# One slice of it.
SliceHU = Int16[np.ndarray, "y x"]

# What a critic scores: single slices, or slabs of neighbouring ones.
Examples = Float[Array, "batch *place 1"]
# Scores examples; must not couple the examples of a batch.
CriticFn = Callable[[Examples], Scores]


@runtime_checkable
class DenoisingNetwork(Protocol):
    """A Flax module from slabs to their denoised centres, in network range."""

    @property
    def slices(self) -> int:
        """Neighbouring slices that one denoised slice is made from; odd."""
        ...

    @property
    def dtype(self) -> DTypeLike:
        """Type of the computation; parameters and answer are float32."""
        ...

    @property
    def smallest_edge(self) -> int:
        """Rows and columns that a slice must have."""
        ...

    def __call__(self, x: Slabs) -> Centres:
        """Denoise (batch, z, y, x, 1) to (batch, z - slices + 1, y, x, 1)."""

    # What every Flax module brings.
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __hash__(self) -> int: ...

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Draw variables."""
        ...

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the network with these variables."""
        ...

    def clone(self, **updates: Any) -> Any:
        """Copy the module with some fields changed."""
        ...
