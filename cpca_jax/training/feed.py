"""How the patches of a training step reach the devices."""

from cpca_jax.data.store import resident
from cpca_jax.data.store.patches import PatchSampler, PatchSpec, Places, stack_draws
from cpca_jax.runtime.sharding import Placement
from cpca_jax.training.steps import Batches
from cpca_jax.types import Params

# What is sent for a step: patches, or where they lie in volumes that are on the devices.
Sent = Batches | Places


class Feeder:
    """Sends each process's share of every step's patches.

    Attributes:
        held: what stays on the devices for the whole training: the volumes, or nothing.
        spec: how patches are cut there; None where the host cuts them.
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
        """Put on the devices what stays there.

        Args:
            sampler: says where patches lie.
            placement: the devices.
            batch: patches of a draw, of all processes.
            draws: fresh batches of a step.
            resident_volumes: cut on the devices instead of on the host.
            stream: of random numbers, see `PatchSampler.places`.
        """
        self._sampler, self._placement = sampler, placement
        self._batch, self._draws, self._stream = batch, draws, stream
        self.spec: PatchSpec | None = sampler.spec if resident_volumes else None
        self.held: Params = ()
        if resident_volumes:
            self.held = placement.replicate(resident.stack_volumes(sampler.series))

    def send(self, seed: int, step: int) -> Sent:
        """The share of a step."""
        count = self._draws * self._batch
        places = self._sampler.places(seed, step, count, stream=self._stream)
        share = self._placement.share(self._batch)
        own = Places(*(array[:, share] for array in stack_draws(places, self._draws)))
        sent: Sent = own if self.spec else Batches(*self._sampler.cut(own))
        divided: Sent = self._placement.divide(sent, self._batch)
        return divided


def received(sent: Sent, held: Params, spec: PatchSpec | None) -> Batches:
    """What was sent as patches; pure, for use under jit."""
    if spec is None:
        assert isinstance(sent, Batches)
        return sent
    assert isinstance(sent, Places)
    return Batches(*resident.cut(held, sent, spec))
