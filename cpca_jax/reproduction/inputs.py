"""The digests of a reproduction's input files, so that other files give other stages."""

import hashlib
from functools import lru_cache
from pathlib import Path

from ml_collections import ConfigDict

from cpca_jax.data.listing import list_files
from cpca_jax.errors import InputError, WeightsError
from cpca_jax.weights import feature_network


def scans_digest(folder: str) -> str:
    """Return the digest of the names, sizes and dates of all files below a folder.

    The contents are left out, because reading them takes minutes.

    Raises:
        InputError: The folder holds no files.
    """
    root = Path(folder)
    digest, paths = hashlib.sha256(), list_files(root).paths
    if not paths:
        raise InputError(f"{root.name}: no files in this folder; give a folder of scans")
    for path in paths:
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def features_digest(chosen: ConfigDict) -> str:
    """Return the digest of the weights of a training's feature network.

    It is "" where they cannot be loaded. A plan accepts that; `require_features` refuses it before
    anything runs.
    """
    network = chosen.perceptual
    return _loaded(network.network, network.tap, network.weights, chosen.train.seed)


def require_features(deck: ConfigDict) -> None:
    """Refuse missing feature networks now; a training would refuse them after hours.

    Raises:
        WeightsError: The weights of a training's feature network are missing or broken.
    """
    networks = [deck.trainings[name].config.perceptual for name in deck.trainings]
    for network, tap, weights in {(n.network, n.tap, n.weights) for n in networks}:
        feature_network.load_feature_network(network, tap=tap, weights=weights)


@lru_cache
def _loaded(network: str, tap: str, weights: str, seed: int) -> str:
    try:
        return feature_network.load_feature_network(
            network, tap=tap, weights=weights, seed=seed
        ).digest
    except WeightsError:
        return ""
