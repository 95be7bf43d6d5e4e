"""The driver behind convert.py: weights of a PyTorch denoiser as a run without training.

The run's folder holds one checkpoint, that of step 0: the generator has the weights of the file;
the critic, if the objective has one, and both optimisers are as at the start of a training.
"""

import json
from pathlib import Path
from typing import Any

import jax

from cpca_jax import trees
from cpca_jax.errors import ConfigError, WeightsError
from cpca_jax.models import count_weights
from cpca_jax.runs import checkpoints, config, saving
from cpca_jax.runs.config import Experiment
from cpca_jax.runtime import files, logs
from cpca_jax.runtime.circumstances import cause
from cpca_jax.runtime.files import read_small
from cpca_jax.training.experiment import build_networks
from cpca_jax.training.networks import create_state, new_player, state_shapes
from cpca_jax.training.optim import optimisers
from cpca_jax.weights.torch_import import from_torch, read_state, recognise
from cpca_jax.weights.torch_names import Convention

# Stands where a trained run names its feature network and data; a converted run used neither.
NOTHING = "none, converted from PyTorch"


def convert(
    experiment: Experiment, weights: Path, workdir: Path, *, names: Path | None = None
) -> Path:
    """Write a run folder whose generator has the weights of a state dict.

    Args:
        experiment: The experiment whose model the weights belong to; no data are needed.
        weights: The state dict, a `.safetensors` or `.npz` file.
        workdir: The folder of the run; it must not hold a checkpoint yet.
        names: A JSON file with an object of PyTorch's layer names by ours, for a network whose
            names are not known.

    Returns:
        The folder of the checkpoint.

    Raises:
        InputError: The configuration is bad, the folder holds checkpoints, or the weights do not
            fit.
    """
    networks = build_networks(experiment)
    if checkpoints.steps(workdir):
        raise ConfigError(f"{workdir.name} holds a run already; use another --workdir")
    model = experiment.model.name
    players = optimisers(experiment.optim, frozen=experiment.train.frozen)
    blank = state_shapes(networks, players).generator
    shapes = trees.merged(blank.params, blank.statistics)
    state, layers = read_state(weights, target_shapes=shapes), _read_names(names)
    try:
        convention, _ = recognise(model, state, shapes, names=layers)
        leaves = from_torch(model, state, shapes, names=layers)
    except WeightsError as error:
        raise WeightsError(f"{weights.name}: {error}") from error
    params, statistics = trees.part(leaves, blank.params), trees.part(leaves, blank.statistics)
    logs.say(f"{weights.name}: {model}, {count_weights(params)} weights, {convention.source}")
    _compare_fields(convention, networks.generator)
    key = jax.random.key(experiment.train.seed)
    player = new_player(params, players.generator, statistics=statistics)
    fresh = create_state(networks, players, key, generator=player)
    text = config.to_json(experiment)
    files.write_file(workdir / "config.json", text.encode(), shared=True)
    return saving.save(workdir, fresh, text, about=_about(weights), keep=1)


def _read_names(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    try:
        names = json.loads(read_small(path, error=ConfigError))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name}: cannot be read as JSON ({cause(error)})") from error
    if not isinstance(names, dict) or not all(isinstance(v, str) for v in names.values()):
        raise ConfigError(f"{path.name}: must be a JSON object of PyTorch's layer names by ours")
    return names


def _compare_fields(convention: Convention, generator: Any) -> None:
    """Warn where the configured network differs from the one that the weights were trained in."""
    for field, theirs in convention.fields.items():
        ours = getattr(generator, field)
        if ours != theirs:
            logs.say(
                f"warning: {convention.source} has {field} {theirs!r}, the configuration {ours!r}: "
                "the outputs will differ"
            )


def _about(weights: Path) -> dict[str, str]:
    return {
        "weights": f"{weights.name}, SHA-256 {files.file_digest(weights)}",
        "feature_network": NOTHING,
        "data": NOTHING,
    }
