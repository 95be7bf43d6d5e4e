"""The initial state of a training: from scratch, or from a trained 2D run."""

from collections.abc import Mapping
from pathlib import Path

import jax

from cpca_jax import trees
from cpca_jax.errors import ConfigError
from cpca_jax.runs import checkpoints, config, saving
from cpca_jax.runs.config import Experiment, TransferConfig
from cpca_jax.runs.state import STEP_KEY, TrainState
from cpca_jax.runtime.sharding import Placement
from cpca_jax.training import transfer
from cpca_jax.training.experiment import Parts
from cpca_jax.training.feed import Feeder, received
from cpca_jax.training.networks import create_state
from cpca_jax.training.origin import Beginning, named
from cpca_jax.training.steps import make_critic_step, unrolled_here
from cpca_jax.types import Say

WARMUP_STREAM = 1


def begin(parts: Parts, placement: Placement, *, say: Say) -> Beginning:
    """Return the state before step 1, and the checkpoint that it was taken from.

    The training starts from scratch or, where `transfer.run` is given, from that run's players
    inflated to the networks of this experiment. The warm-up of the critic follows if asked for.

    Args:
        parts: The parts of the training.
        placement: The devices that the warm-up uses.
        say: A function that is told what is carried over.

    Raises:
        CheckpointError: The 2D run has no sound checkpoint, or the trees do not fit.
        ConfigError: The 2D run was trained on the patients of the fold that is held out.
    """
    experiment = parts.experiment
    key = jax.random.key(experiment.train.seed)
    state = create_state(parts.networks, parts.objective.optimisers, key)
    origin: Mapping[str, str] = {}
    chosen = experiment.transfer
    if chosen.run:
        run = Path(chosen.run)
        step = checkpoints.require_step(run, step=chosen.step or None, say=say)
        _require_same_fold(experiment, step)
        state = _transferred(state, chosen, step, say=say)
        origin = named(run, step)
    if chosen.critic_warmup_steps and state.critic is not None:
        state = _warm_up(parts, state, placement, say=say)
    return Beginning(state, origin)


def _require_same_fold(experiment: Experiment, step: int) -> None:
    """Refuse a 2D run that saw the patients held out here: its scores on them mean nothing."""
    if not experiment.data.folds:
        return
    theirs = config.parse_run(checkpoints.config_of(Path(experiment.transfer.run), step)).data
    ours = experiment.data
    if (theirs.folds, theirs.fold) != (ours.folds, ours.fold):
        raise ConfigError(
            f"config.data.fold: {ours.fold} of {ours.folds}; {Path(experiment.transfer.run).name} "
            f"was trained with fold {theirs.fold} of {theirs.folds} and saw the patients held out"
        )


def _transferred(state: TrainState, chosen: TransferConfig, step: int, *, say: Say) -> TrainState:
    """Replace the fresh players by the inflated players of the 2D run's sound checkpoint."""
    run = Path(chosen.run)
    trained = saving.restore_player(run, "generator", step=step)
    carry = chosen.optimizer != transfer.FRESH
    rules: transfer.Rules = ((".*", chosen.rule),)
    if chosen.rule == transfer.FRESH:
        rules = _fresh_where_new(state)
    rules = (*((name, transfer.FRESH) for name in chosen.fresh), *rules)
    generator, report = transfer.inflate_player(
        trained, state.generator, rules=rules, optimizer=carry
    )
    say(f"transfer from {run.name}, step {step}, rule '{chosen.rule}'")
    say(f"  generator: {report}")
    state = state.replace(generator=generator)
    if state.critic is None:
        return state
    had_critic = checkpoints.holds(run, "critic", step=step)
    if not had_critic or chosen.critic == transfer.FRESH:
        say(f"  critic: from scratch ({'as asked' if had_critic else 'the 2D run had none'})")
        return state
    source = saving.restore_player(run, "critic", step=step)
    critic, _ = transfer.inflate_player(source, state.critic, optimizer=carry)
    say(f"  critic: carried over, {'with' if carry else 'without'} its optimiser's moments")
    return state.replace(critic=critic)


def _fresh_where_new(state: TrainState) -> transfer.Rules:
    """Return rules that keep kernels with a z axis random, as another question of the deck asks."""
    leaves = trees.by_name(state.generator.params)
    names = [name for name, leaf in leaves.items() if leaf.ndim > 4]
    return (*((name, transfer.FRESH) for name in names), *transfer.CENTRE_RULES)


def _warm_up(parts: Parts, state: TrainState, placement: Placement, *, say: Say) -> TrainState:
    """Train the critic alone with a fixed generator, as the deck's discussion suggests."""
    e = parts.experiment
    steps, draws = e.transfer.critic_warmup_steps, e.loss.critic_steps
    say(f"critic warm-up: {steps} steps of {draws} updates, generator unchanged")
    critic_step = jax.jit(
        make_critic_step(parts.networks, parts.objective, unroll=unrolled_here()),
        out_shardings=placement.everywhere,
    )
    feeder = Feeder(parts.sampler, placement, batch=e.data.batch, draws=draws, stream=WARMUP_STREAM)
    state = placement.replicate(state)
    root = jax.random.fold_in(jax.random.key(e.train.seed), STEP_KEY + WARMUP_STREAM)
    for step in range(steps):
        batches = received(feeder.send(e.train.seed, step), feeder.held, feeder.spec)
        state, scalars = critic_step(state, batches, jax.random.fold_in(root, step))
    say(
        f"  Wasserstein estimate {float(scalars['wasserstein']):.4f}, "
        f"gradient norm {float(scalars['gradient_norm']):.3f}"
    )
    return state
