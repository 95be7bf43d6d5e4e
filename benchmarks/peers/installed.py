"""Find the peers that this environment has."""

import importlib.util
from collections.abc import Sequence

from benchmarks.peers.interface import Peer


def installed_peers() -> Sequence[Peer]:
    """Return the peers; none where PyTorch is not installed or cannot use JAX's device."""
    if importlib.util.find_spec("torch") is None:
        return ()
    from benchmarks.peers import torch_peer

    return torch_peer.torch_peers()
