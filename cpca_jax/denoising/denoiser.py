"""A trained network made ready for volumes in HU: NumPy in, NumPy out.

A denoiser is built only from what a run says about its network; the objective, the critic and the
data of the training are not read.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float32, Num

from cpca_jax import trees
from cpca_jax.errors import CheckpointError, ConfigError, InputError, NotFiniteError
from cpca_jax.layers import variables_of
from cpca_jax.models import MODELS, build_generator
from cpca_jax.registry import pick
from cpca_jax.runs import checkpoints
from cpca_jax.runtime import logs
from cpca_jax.types import DenoisingNetwork, Params, Say, Slabs
from cpca_jax.units import Window

HUArray = Num[np.ndarray, "z y x"]
# The run that needs no training: it changes nothing.
IDENTITY = "identity"
_IDENTITY_WINDOW = Window(-1024, 3071)
# The treatments of HU that the network's window clips away.
OUTSIDE = ("restore", "clip")


class Identity(nn.Module):
    """The denoiser that returns its input; it shows that nothing else changes a volume."""

    slices: int = 1
    dtype: DTypeLike = jnp.float32
    smallest_edge = 1

    @nn.compact
    def __call__(self, x: Slabs) -> Slabs:
        """Return the slab (batch, z, y, x, 1) unchanged."""
        return x


@dataclasses.dataclass(frozen=True)
class Denoiser:
    """A trained network with everything that denoising needs.

    Attributes:
        name: The name of the run's folder.
        module: The network.
        params: The weights of the network.
        window: The HU window that the network was trained in.
        step: The training step of the checkpoint.
        digest: 16 hexadecimal digits that identify weights and configuration.
        statistics: The running moments of batch normalisation; empty for networks without any.
    """

    name: str
    module: DenoisingNetwork
    params: Params
    window: Window
    step: int = 0
    digest: str = ""
    statistics: Params = dataclasses.field(default_factory=dict)

    @property
    def slices(self) -> int:
        """The number of neighbouring slices from which one denoised slice is computed."""
        return self.module.slices

    @property
    def smallest_edge(self) -> int:
        """The smallest number of rows and columns that a slice may have."""
        return self.module.smallest_edge

    @property
    def variables(self) -> Params:
        """The weights and moments in the form that Flax takes."""
        return variables_of(self.params, self.statistics)

    def denoise(
        self, volume_hu: HUArray, *, batch: int = 4, outside: str = "restore"
    ) -> Float32[np.ndarray, "z y x"]:
        """Denoise a volume; see `denoise_volume`."""
        return denoise_volume(self, volume_hu, batch=batch, outside=outside)


def load_run(run: Path | str, *, step: int | None = None, say: Say = logs.say) -> Denoiser:
    """Load the denoiser of a trained run, from its newest sound checkpoint or the given step.

    The run called "identity" is built in, unless a folder of that name exists.

    Args:
        run: The run's folder.
        step: The step of the checkpoint; by default the newest sound one.
        say: A function that is told of each checkpoint that is skipped, and why.

    Raises:
        CheckpointError: The run does not exist or has no sound checkpoint.
        ConfigError: The network is one that only a plug-in knows; the message names the plug-in.
    """
    run = Path(run)
    if str(run) == IDENTITY and not run.exists():
        return Denoiser(IDENTITY, Identity(), {}, _IDENTITY_WINDOW, digest=_digest({}, {}, {}))
    found = checkpoints.require_step(run, step=step, say=say)
    written = checkpoints.config_of(run, found)
    module = _network(run.name, written)
    window = _window(run.name, written)
    params, statistics = checkpoints.restore_network(run, "generator", step=found)
    return Denoiser(
        name=run.resolve().name,
        module=module,
        params=params,
        window=window,
        step=found,
        digest=_digest(params, statistics, written),
        statistics=statistics,
    )


def _network(run: str, written: Mapping[str, Any]) -> DenoisingNetwork:
    """Build the network that a run's configuration names in its model section."""
    model = _section(run, written, "model", {"name": str, "slices": int, "fields": dict})
    if model["name"] not in MODELS:
        plugins = ", ".join(written.get("plugins", ())) or "a module that it does not name"
        raise ConfigError(
            f"{run}: its network '{model['name']}' is none of {', '.join(MODELS)}; the run was "
            f"trained with {plugins}: load it with --plugin"
        )
    fields = {name: _hashable(value) for name, value in model["fields"].items()}
    return build_generator(model["name"], slices=model["slices"], **fields)


def _window(run: str, written: Mapping[str, Any]) -> Window:
    edges = _section(run, written, "data", {"window_hu": list})["window_hu"]
    if len(edges) != 2 or not all(type(edge) in {int, float} for edge in edges):
        raise CheckpointError(f"{run}: config.data.window_hu is {edges}, must be [low, high] HU")
    return Window(*edges)


def _section(
    run: str, written: Mapping[str, Any], name: str, kinds: Mapping[str, type]
) -> dict[str, Any]:
    """Return a section of a run's configuration, which must have these keys, of these types."""
    section = written.get(name)
    for key, kind in kinds.items():
        value = section.get(key) if isinstance(section, dict) else None
        if type(value) is not kind:
            raise CheckpointError(
                f"{run}: config.{name}.{key} is {value!r}, must be of type {kind.__name__}"
            )
    assert isinstance(section, dict)
    return section


def _hashable(value: Any) -> Any:
    """Return lists from JSON as tuples, because the fields of modules must be hashable."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _digest(params: Params, statistics: Params, written: Mapping[str, Any]) -> str:
    """Return the digest of every weight and moment with its name, and of the configuration."""
    digest = hashlib.sha256(json.dumps(written, sort_keys=True).encode())
    for tree in (params, statistics):
        for name, leaf in sorted(trees.by_name(tree).items()):
            digest.update(f"{name} {leaf.dtype} {leaf.shape}".encode())
            digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def denoise_volume(
    denoiser: Denoiser | Path | str,
    volume_hu: HUArray,
    *,
    batch: int = 4,
    outside: str = "restore",
    chosen: range | None = None,
) -> Float32[np.ndarray, "chosen y x"]:
    """Denoise a volume.

    Slabs of `batch` + slices - 1 slices go through the network, which computes each 3D layer once
    per slice. At both ends of the volume, slices are replicated.

    Args:
        denoiser: A denoiser or the folder of a run.
        volume_hu: A volume (z, y, x) in HU, its neighbouring slices in order of position.
        batch: The number of slices denoised at once; memory use grows with it.
        outside: The network sees HU clipped to its window. "restore" adds back what was clipped
            away (air, bone and metal keep their HU); "clip" leaves the ends of the window.
        chosen: The neighbouring slices to denoise, each with its true neighbours; by default all.

    Returns:
        The chosen slices (z, y, x) in HU, float32.

    Raises:
        InputError: The slices are too small for the network, or `outside` is unknown.
        NotFiniteError: The network gave numbers that are not finite.
    """
    if not isinstance(denoiser, Denoiser):
        denoiser = load_run(denoiser)
    chosen = range(len(volume_hu)) if chosen is None else chosen
    denoised = np.empty((len(chosen), *volume_hu.shape[1:]), np.float32)
    for start in range(0, len(chosen), batch):
        kept = min(batch, len(chosen) - start)
        part = denoise_slices(denoiser, volume_hu, chosen.start + start, batch, outside=outside)
        denoised[start : start + kept] = part[:kept]
    return denoised


def denoise_slices(
    denoiser: Denoiser, volume_hu: HUArray, start: int, count: int, *, outside: str = "restore"
) -> Float32[np.ndarray, "count y x"]:
    """Denoise `count` slices of a volume from `start` on, each with its true neighbours.

    Beyond the ends of the volume, slices are replicated, so `count` may pass the end: every part
    of a volume has one shape and needs one compilation. All else is as in `denoise_volume`.
    """
    pick(dict.fromkeys(OUTSIDE), outside, "outside")
    if min(volume_hu.shape[1:]) < denoiser.smallest_edge:
        shape, least = volume_hu.shape[1:], denoiser.smallest_edge
        raise InputError(f"slices of {shape}; {denoiser.name} needs {least} or more")
    half, last = denoiser.slices // 2, len(volume_hu) - 1
    wanted = np.clip(np.arange(start - half, start + count + half), 0, last)
    slab = np.asarray(volume_hu[wanted], np.float32)
    denoised = np.array(slab_program(denoiser)(denoiser.variables, jnp.asarray(slab)))
    if not np.isfinite(denoised).all():
        raise NotFiniteError(
            f"{denoiser.name}: its output is not finite, must be HU; the weights of step "
            f"{denoiser.step} diverged or are damaged"
        )
    if outside == "restore":
        source = slab[half : half + count]
        denoised += source - np.clip(source, denoiser.window.low, denoiser.window.high)
    return denoised


def slab_program(denoiser: Denoiser) -> jax.stages.Wrapped:
    """Return the jitted function (variables, slab in HU) -> denoised centre slices in HU."""
    return _program(denoiser.module, denoiser.window)


@lru_cache(maxsize=32)
def _program(module: DenoisingNetwork, window: Window) -> jax.stages.Wrapped:
    """Return the function of `slab_program`, cached so that a network compiles once per shape."""

    @jax.jit
    def run(variables: Params, slab_hu: Array) -> Array:
        slab = window.normalise(slab_hu)[None, ..., None]
        return window.to_hu(module.apply(variables, slab)[0, ..., 0])

    return run
