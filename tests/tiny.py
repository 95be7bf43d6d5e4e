"""The smallest experiment that has every part, for tests of drivers."""

from pathlib import Path
from typing import Any

import numpy as np

from cpca_jax.configs import base
from cpca_jax.data.store.manifest import SeriesInfo
from cpca_jax.data.store.writer import StoreWriter
from cpca_jax.runs import config
from cpca_jax.runs.config import Experiment

SIZE, SLICES = 40, 7


def volume(seed: int, noise_hu: float) -> np.ndarray:
    """Return a tilted cylinder with a hole in noisy air; without noise it depends on `seed` alone."""
    z, y, x = np.mgrid[:SLICES, :SIZE, :SIZE]
    centre = SIZE / 2 + 0.5 * (z - SLICES / 2)
    radius = np.hypot(y - SIZE / 2, x - centre)
    clean = np.where(radius < 14, 50 + 10 * seed, -1000) + np.where(radius < 4, 120, 0)
    random = np.random.default_rng((seed, int(noise_hu)))
    return (clean + random.normal(0, noise_hu, clean.shape)).astype(np.int16)


def write_store(root: Path, splits: tuple[str, ...] = ("train", "validation", "test")) -> Path:
    """Write one small paired series for each split, each of its own patient."""
    with StoreWriter(root) as writer:
        for seed, split in enumerate(splits):
            info = SeriesInfo(
                name=f"phantom-{seed:03d}",
                patient=f"phantom-{seed:03d}",
                split=split,
                kernel="simulated",
                thickness_mm=2.0,
                spacing_mm=(1.0, 1.0),
                positions_mm=tuple(2.0 * k for k in range(SLICES)),
                simulated=True,
                dose=0.25,
                lesions=(),
            )
            writer.add(info, low=volume(seed, 40.0), full=volume(seed, 20.0))
    return root


def configuration(store: Path, **changes: Any) -> Experiment:
    """Return an experiment of seconds; `changes` are dotted fields with "__" for the dot."""
    chosen = base.get_config()
    chosen.data.store = str(store)
    chosen.data.patch = 20
    chosen.data.batch = 2
    chosen.model.fields.features = 4
    chosen.critic.fields.features = (2, 2, 4, 4, 4, 4)
    chosen.critic.fields.dense = 8
    chosen.loss.critic_steps = 2
    chosen.perceptual.network = "random"
    chosen.perceptual.tap = "relu1_2"
    chosen.train.epochs = 2
    chosen.train.steps_per_epoch = 3
    chosen.train.log_every = 1
    chosen.train.validation_slices = 2
    chosen.compute.devices = 1  # tests see eight virtual devices
    for path, value in changes.items():
        *parents, leaf = path.split("__")
        place = chosen
        for parent in parents:
            place = getattr(place, parent)
        with place.ignore_type():  # a width may be a number or one for each layer
            setattr(place, leaf, value)
    return config.parse(chosen)
