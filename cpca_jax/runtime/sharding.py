"""Placement of a training's arrays: batches are divided over all devices, all else is on each.

The same program runs on any number of devices and hosts: under jit, XLA adds the sums of gradients
over devices that the placement of its arguments requires.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cpca_jax.errors import ConfigError
from cpca_jax.types import Leaf, Params, RandomKey

_BATCH = "batch"


@dataclasses.dataclass(frozen=True)
class Placement:
    """Devices that share every batch evenly.

    Attributes:
        devices: the devices of all processes, those of one process side by side.
    """

    devices: tuple[jax.Device, ...]

    @functools.cached_property
    def everywhere(self) -> NamedSharding:
        """The sharding that puts a copy on each device."""
        return NamedSharding(self._mesh, PartitionSpec())

    @functools.cached_property
    def divided(self) -> NamedSharding:
        """The sharding that divides arrays (draws, batch, ...) along the batch."""
        return NamedSharding(self._mesh, PartitionSpec(None, _BATCH))

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), (_BATCH,))

    def share(self, batch: int) -> slice:
        """Return the part of a batch that this process's devices work on."""
        owners = [device.process_index for device in self.devices]
        return share_of(batch, owners, jax.process_index())

    def replicate(self, tree: Params) -> Params:
        """Copy host arrays, which are the same in every process, to each device."""

        def one(leaf: Leaf) -> jax.Array:
            host = np.asarray(leaf)
            return jax.make_array_from_callback(
                host.shape, self.everywhere, lambda index: host[index]
            )

        return jax.tree.map(one, tree)

    def replicate_key(self, key: RandomKey) -> RandomKey:
        """Copy a random key to each device."""
        data: jax.Array = self.replicate(jax.random.key_data(key))
        whole: RandomKey = jax.random.wrap_key_data(data)
        return whole

    def divide(self, tree: Params, batch: int) -> Params:
        """Put this process's share of (draws, batch, ...) arrays on its devices.

        Args:
            tree: host arrays (draws, share, ...), see `share`.
            batch: the size of the whole batch, over all processes.
        """

        def one(leaf: np.ndarray) -> jax.Array:
            shape = (leaf.shape[0], batch, *leaf.shape[2:])
            divided: jax.Array = jax.make_array_from_process_local_data(self.divided, leaf, shape)
            return divided

        return jax.tree.map(one, tree)


def share_of(batch: int, owners: Sequence[int], process: int) -> slice:
    """Return the part of a batch that one process works on.

    Args:
        batch: the size of the batch, which is divided evenly over the devices.
        owners: the process of each device, those of one process side by side.
        process: the index of the process.
    """
    each, first = batch // len(owners), owners.index(process)
    return slice(each * first, each * (first + owners.count(process)))


def choose_devices(batch: int, *, wanted: int = 0) -> Placement:
    """Return the devices for a batch.

    Args:
        batch: the number of patches of a draw.
        wanted: the number of devices; 0 for all. Several processes always use all devices.

    Raises:
        ConfigError: more devices than there are, or a batch that they cannot share evenly.
    """
    # The devices of one process lie side by side, so that `share` is one slice.
    every = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    if wanted > len(every) or (wanted and jax.process_count() > 1 and wanted != len(every)):
        raise ConfigError(
            f"config.compute.devices: {wanted}; there are {len(every)} devices, and 0 uses them all"
        )
    count = wanted or len(every)
    if batch % count:
        raise ConfigError(
            f"config.data.batch: {batch}; {count} devices share it evenly only if it is a multiple "
            f"of {count} (or set config.compute.devices)"
        )
    return Placement(tuple(every[:count]))
