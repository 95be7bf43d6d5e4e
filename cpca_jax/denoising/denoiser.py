"""A trained network made ready for volumes in HU: NumPy in, NumPy out."""

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
from jaxtyping import Float32, Num

from cpca_jax import trees
from cpca_jax.errors import InputError
from cpca_jax.runs import checkpoints, config
from cpca_jax.runs.state import Networks
from cpca_jax.training.experiment import build_networks
from cpca_jax.types import Params, Slabs
from cpca_jax.units import Window

HUArray = Num[np.ndarray, "z y x"]
# The run that needs no training: it changes nothing.
IDENTITY = "identity"
_IDENTITY_WINDOW = Window(-1024, 3071)


class Identity(nn.Module):
    """The denoiser that answers with its input; shows that nothing else changes a volume."""

    @nn.compact
    def __call__(self, slab: Slabs) -> Slabs:
        """Slab (batch, z, y, x, 1) to itself."""
        return slab


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A denoiser ready for use.

    Attributes:
        name: of the run's folder.
        networks: the network, and how many slices it takes.
        params: its weights.
        window: HU window that it was trained in.
        step: of the checkpoint.
        digest: 16 hexadecimal digits of weights and configuration.
    """

    name: str
    networks: Networks
    params: Params
    window: Window
    step: int = 0
    digest: str = ""

    @property
    def slices(self) -> int:
        """Neighbouring slices that one denoised slice is made from."""
        return self.networks.slices

    @property
    def smallest_edge(self) -> int:
        """Rows and columns that a slice must have."""
        return int(getattr(self.networks.generator, "smallest_edge", 1))


def load_run(run: Path | str, *, step: int | None = None) -> TrainedModel:
    """The denoiser of a trained run, from its newest sound checkpoint or the given step.

    The run called "identity" is built in, unless there is a folder of that name.

    Raises:
        CheckpointError: no such run or no sound checkpoint.
    """
    run = Path(run)
    if str(run) == IDENTITY and not run.exists():
        networks = Networks(Identity(), None, slices=1, patch=1)
        return TrainedModel(IDENTITY, networks, {}, _IDENTITY_WINDOW, digest=_digest({}, {}))
    found = checkpoints.require_step(run, step=step)
    written = checkpoints.read_config(run, step=found)
    experiment = config.parse(written)
    params = checkpoints.restore_params(run, step=found)
    return TrainedModel(
        name=run.resolve().name,
        networks=build_networks(experiment),
        params=params,
        window=Window(*experiment.data.window_hu),
        step=found,
        digest=_digest(params, written),
    )


def _digest(params: Params, written: Mapping[str, Any]) -> str:
    """Of every weight with its name, and of the configuration."""
    digest = hashlib.sha256(json.dumps(written, sort_keys=True).encode())
    for name, leaf in sorted(trees.by_name(params).items()):
        digest.update(f"{name} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def denoise_volume(
    model: TrainedModel | Path | str,
    volume_hu: HUArray,
    *,
    batch: int = 4,
    outside: str = "restore",
    chosen: range | None = None,
) -> Float32[np.ndarray, "chosen y x"]:
    """Denoise a volume.

    Slabs of `batch` + slices - 1 slices go through the network, which computes each 3D layer once
    per slice. At the two ends slices are replicated.

    Args:
        model: a trained model or a run's folder.
        volume_hu: (z, y, x) in HU, neighbouring slices in order of position.
        batch: slices denoised at once; memory grows with it.
        outside: the network sees HU clipped to its window. "restore" adds back what was clipped
            away (air, bone and metal keep their HU); "clip" leaves the window's ends.
        chosen: neighbouring slices to denoise, each with its true neighbours; by default all.

    Returns:
        The chosen slices (z, y, x) in HU, float32.

    Raises:
        InputError: slices too small for the network, or an unknown `outside`.
    """
    if not isinstance(model, TrainedModel):
        model = load_run(model)
    chosen = range(len(volume_hu)) if chosen is None else chosen
    denoised = np.empty((len(chosen), *volume_hu.shape[1:]), np.float32)
    for start in range(0, len(chosen), batch):
        kept = min(batch, len(chosen) - start)
        part = denoise_slices(model, volume_hu, chosen.start + start, batch, outside=outside)
        denoised[start : start + kept] = part[:kept]
    return denoised


def denoise_slices(
    model: TrainedModel, volume_hu: HUArray, start: int, count: int, *, outside: str = "restore"
) -> Float32[np.ndarray, "count y x"]:
    """Slices start .. start + count of a volume, each denoised with its true neighbours.

    Beyond the volume's ends slices are replicated, so `count` may pass the end: one shape, and
    one compilation, for every part of a volume. The rest is as for `denoise_volume`.
    """
    if outside not in {"restore", "clip"}:
        raise InputError(f"outside: '{outside}' is not one of restore, clip")
    if min(volume_hu.shape[1:]) < model.smallest_edge:
        shape, least = volume_hu.shape[1:], model.smallest_edge
        raise InputError(f"slices of {shape}; {model.name} needs {least} or more")
    half, last = model.slices // 2, len(volume_hu) - 1
    wanted = np.clip(np.arange(start - half, start + count + half), 0, last)
    slab = np.asarray(volume_hu[wanted], np.float32)
    denoised = np.array(slab_program(model)(model.params, jnp.asarray(slab)))
    if not np.isfinite(denoised).all():
        raise InputError(
            f"{model.name}: its answer is not finite, must be HU; the weights of step {model.step} "
            "diverged or are damaged"
        )
    if outside == "restore":
        source = slab[half : half + count]
        denoised += source - np.clip(source, model.window.low, model.window.high)
    return denoised


def slab_program(model: TrainedModel) -> jax.stages.Wrapped:
    """The jitted function (params, slab in HU) -> denoised centres in HU."""
    return _denoiser(model.networks, model.window)


@lru_cache(maxsize=32)
def _denoiser(networks: Networks, window: Window) -> jax.stages.Wrapped:
    """A jitted slab of HU to centres in HU; kept, so that a network compiles once per shape."""

    @jax.jit
    def run(params: Params, slab_hu: Array) -> Array:
        slab = window.normalise(slab_hu)[None, ..., None]
        return window.to_hu(networks.denoise(params, slab)[0, ..., 0])

    return run
