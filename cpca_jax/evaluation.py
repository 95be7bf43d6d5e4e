"""Denoising volumes and scoring them, slice by slice, under a named protocol."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32, Num

from cpca_jax import checkpoints, config, perceptual
from cpca_jax.data.store import PairedSeries
from cpca_jax.errors import InputError
from cpca_jax.experiment import build_networks
from cpca_jax.pretrained import FeatureNetwork
from cpca_jax.protocols import Protocol
from cpca_jax.state import Networks
from cpca_jax.types import Params
from cpca_jax.units import Window

HUArray = Num[np.ndarray, "z y x"]
QUARTER_DOSE = "quarter dose"
METRICS = ("psnr", "ssim", "rmse_hu", "perceptual")


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A denoiser ready for use: networks, parameters, and the HU window it was trained in."""

    name: str
    networks: Networks
    params: Params
    window: Window
    step: int = 0

    @property
    def slices(self) -> int:
        """Neighbouring slices that one denoised slice is made from."""
        return self.networks.slices


@dataclasses.dataclass(frozen=True)
class SliceScore:
    """The scores of one slice by one method."""

    method: str
    series: str
    patient: str
    slice: int
    psnr: float
    ssim: float
    rmse_hu: float
    perceptual: float


def load_run(run: Path | str, *, step: int | None = None) -> TrainedModel:
    """The denoiser of a trained run, from its newest sound checkpoint or the given step.

    Raises:
        CheckpointError: no such run or no sound checkpoint.
    """
    run = Path(run)
    found = checkpoints.require_step(run, step=step)
    experiment = config.parse(checkpoints.read_config(run, step=found))
    return TrainedModel(
        name=run.resolve().name,
        networks=build_networks(experiment),
        params=checkpoints.restore_params(run, step=found),
        window=Window(*experiment.data.window_hu),
        step=found,
    )


def denoise_volume(
    model: TrainedModel | Path | str,
    volume_hu: HUArray,
    *,
    batch: int = 4,
    outside: str = "restore",
) -> Float32[np.ndarray, "z y x"]:
    """Denoise a volume.

    Slabs of `batch` + slices - 1 slices go through the network, which computes each 3D layer once
    per slice. At the two ends slices are replicated.

    Args:
        model: a trained model or a run's folder.
        volume_hu: (z, y, x) in HU, neighbouring slices in order of position.
        batch: slices denoised at once; memory grows with it.
        outside: the network sees HU clipped to its window. "restore" adds back what was clipped
            away (air, bone and metal keep their HU); "clip" leaves the window's ends.

    Returns:
        (z, y, x) in HU, float32.

    Raises:
        InputError: slices too small for the network, or an unknown `outside`.
    """
    if not isinstance(model, TrainedModel):
        model = load_run(model)
    denoised = np.empty(volume_hu.shape, np.float32)
    for start in range(0, len(volume_hu), batch):
        kept = min(batch, len(volume_hu) - start)
        part = denoise_slices(model, volume_hu, start, batch, outside=outside)
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
    smallest = getattr(model.networks.generator, "smallest_edge", 1)
    if min(volume_hu.shape[1:]) < smallest:
        raise InputError(f"slices of {volume_hu.shape[1:]}; {model.name} needs {smallest} or more")
    half, last = model.slices // 2, len(volume_hu) - 1
    wanted = np.clip(np.arange(start - half, start + count + half), 0, last)
    slab = np.asarray(volume_hu[wanted], np.float32)
    run = _denoiser(model.networks, model.window)
    denoised = np.array(run(model.params, jnp.asarray(slab)))
    if outside == "restore":
        source = slab[half : half + count]
        denoised += source - np.clip(source, model.window.low, model.window.high)
    return denoised


def evaluate_series(
    models: Sequence[TrainedModel],
    series: PairedSeries,
    protocol: Protocol,
    features: FeatureNetwork,
    *,
    batch: int = 4,
    chosen: range | None = None,
) -> Iterator[tuple[list[SliceScore], Mapping[str, np.ndarray]]]:
    """Score quarter dose and each model on a paired series, a few slices at a time.

    A 3D model sees true neighbours only: where slices are missing, the ends of the stretch are
    replicated like a volume's.

    Args:
        models: the methods besides quarter dose.
        series: the pair of volumes.
        protocol: how slices are scored.
        features: the feature network of the perceptual metric.
        batch: slices at once.
        chosen: which slices of the series; by default all.

    Yields:
        Scores of some slices, and those slices (n, y, x) in HU by method, "full dose" included.
    """
    chosen = range(len(series.full)) if chosen is None else chosen
    deepest = max((model.slices for model in models), default=1)
    stretches = series.runs if deepest > 1 else ((0, len(series.full)),)
    outside = {m.name: "clip" if m.window.contains(protocol.window) else "restore" for m in models}
    for start, stop, (first, last) in _parts(stretches, chosen, batch):
        images = {QUARTER_DOSE: series.quarter[start:stop].astype(np.float32)}
        neighbours = series.quarter[first:last]
        for model in models:
            part = denoise_slices(
                model, neighbours, start - first, batch, outside=outside[model.name]
            )
            images[model.name] = part[: stop - start]
        full = series.full[start:stop].astype(np.float32)
        scores = score_slices(images, full, protocol, features, batch=batch)
        rows = [
            SliceScore(
                method, series.name, series.patient, start + k, *(float(s[m][k]) for m in METRICS)
            )
            for method, s in scores.items()
            for k in range(stop - start)
        ]
        yield rows, images | {"full dose": full}


def _parts(
    stretches: Sequence[tuple[int, int]], chosen: range, batch: int
) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """(start, stop) of at most `batch` chosen slices, and the stretch of neighbours they lie in."""
    for first, last in stretches:
        for start in range(max(first, chosen.start), min(last, chosen.stop), batch):
            yield start, min(start + batch, last, chosen.stop), (first, last)


def score_slices(
    images: Mapping[str, Float[np.ndarray, "n y x"]],
    full: Float[np.ndarray, "n y x"],
    protocol: Protocol,
    features: FeatureNetwork,
    *,
    batch: int,
) -> dict[str, dict[str, np.ndarray]]:
    """All metrics of each method's slices (n <= batch) against full dose; HU in.

    The last batch is padded by repeating its last slice, so that each shape compiles once.
    """

    def padded(slices: np.ndarray) -> Array:
        return jnp.asarray(slices[np.minimum(np.arange(batch), len(slices) - 1)])

    target = padded(full)
    reference = _reference(features.params, target, protocol=protocol, spec=features.spec)
    return {
        method: jax.tree.map(
            np.asarray,
            _score(
                features.params,
                padded(slices),
                target,
                reference,
                protocol=protocol,
                spec=features.spec,
            ),
        )
        for method, slices in images.items()
    }


def middle(series: PairedSeries, count: int) -> range:
    """`count` neighbouring slices in the middle of a series; all of them if it has fewer."""
    total = len(series.full)
    count = min(count, total) if count else total
    start = (total - count) // 2
    return range(start, start + count)


def mean_scores(rows: Sequence[SliceScore]) -> dict[str, dict[str, float]]:
    """Mean over slices of every metric, by method, in order of appearance."""
    methods = dict.fromkeys(row.method for row in rows)
    return {
        method: {
            metric: float(np.mean([getattr(r, metric) for r in rows if r.method == method]))
            for metric in METRICS
        }
        for method in methods
    }


@lru_cache(maxsize=32)
def _denoiser(networks: Networks, window: Window):  # type: ignore[no-untyped-def]
    """A jitted slab of HU to centres in HU; kept, so that a network compiles once per shape."""

    @jax.jit
    def run(params: Params, slab_hu: Array) -> Array:
        slab = window.normalise(slab_hu)[None, ..., None]
        return window.to_hu(networks.denoise(params, slab)[0, ..., 0])

    return run


@partial(jax.jit, static_argnames=("protocol", "spec"))
def _reference(
    params: Params, target_hu: Array, *, protocol: Protocol, spec: perceptual.FeatureSpec
) -> Array:
    """Features of full dose, the same for every method."""
    return perceptual.features(params, protocol.window.normalise(target_hu)[..., None], spec=spec)


@partial(jax.jit, static_argnames=("protocol", "spec"))
def _score(
    params: Params,
    images_hu: Array,
    target_hu: Array,
    reference: Array,
    *,
    protocol: Protocol,
    spec: perceptual.FeatureSpec,
) -> dict[str, Array]:
    images = protocol.window.normalise(images_hu)[..., None]
    features = perceptual.features(params, images, spec=spec)
    distance = perceptual.feature_distance(features, reference)
    return protocol.score(images_hu, target_hu) | {"perceptual": distance}
