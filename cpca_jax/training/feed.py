"""The delivery of the patches of each training step to the devices."""

from cpca_jax.data.store import resident
from cpca_jax.data.store.patches import PatchSampler, PatchSpec, Places, stack_draws
from cpca_jax.runtime.sharding import Placement
from cpca_jax.training.steps import Batches
from cpca_jax.types import Params

# The data sent for a step: patches, or their places in volumes that are on the devices.
Sent = Batches | Places


class Feeder:
    """The sender of each process's share of the patches of every step.

    Attributes:
        held: The data that stay on the devices for the whole training: the volumes, or nothing.
        spec: The geometry of patches cut on the devices; None where the host cuts them.
    """

    def __init__(
        self,
        sampler: PatchSampler,
        placement: Placement,
        *,
        batch: int,
        draws: int,
        resident_volumes: bool = False,
        stream: int = 0,
    ) -> None:
        """Put on the devices the data that stay there.

        Args:
            sampler: The sampler that chooses the places of patches.
            placement: The devices.
            batch: The number of patches per draw, over all processes.
            draws: The number of fresh batches per step.
            resident_volumes: True to cut patches on the devices instead of on the host.
            stream: The stream of random numbers, see `PatchSampler.places`.
        """
        self._sampler, self._placement = sampler, placement
        self._batch, self._draws, self._stream = batch, draws, stream
        self.spec: PatchSpec | None = sampler.spec if resident_volumes else None
        self.held: Params = ()
        if resident_volumes:
            self.held = placement.replicate(resident.stack_volumes(sampler.series))

    def send(self, seed: int, step: int) -> Sent:
        """Send this process's share of the patches of a step to its devices, and return it."""
        count = self._draws * self._batch
        places = self._sampler.places(seed, step, count, stream=self._stream)
        share = self._placement.share(self._batch)
        own = Places(*(array[:, share] for array in stack_draws(places, self._draws)))
        sent: Sent = own if self.spec else Batches(*self._sampler.cut(own))
        divided: Sent = self._placement.divide(sent, self._batch)
        return divided


def received(sent: Sent, held: Params, spec: PatchSpec | None) -> Batches:
    """Return the sent data as patches, cut here if need be; pure, for use under jit."""
    if spec is None:
        assert isinstance(sent, Batches)
        return sent
    assert isinstance(sent, Places)
    return Batches(*resident.cut(held, sent, spec))
