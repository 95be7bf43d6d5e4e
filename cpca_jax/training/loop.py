"""The training loop."""

import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from functools import lru_cache
from pathlib import Path

import jax

from cpca_jax.data.store.patches import PatchSpec, prefetch
from cpca_jax.errors import NotFiniteError, StoppedError
from cpca_jax.metrics.table import drawn
from cpca_jax.runs import config, saving
from cpca_jax.runs.config import Experiment
from cpca_jax.runs.state import STEP_KEY, TrainState
from cpca_jax.runtime import circumstances, files, locks, logs, partials, processes, run_log
from cpca_jax.runtime.sharding import Placement, choose_devices
from cpca_jax.runtime.signals import Stop, ending_at_once, stop_asked
from cpca_jax.training.divergence import (
    diverged,
    require_finite_scalars,
    require_finite_state,
)
from cpca_jax.training.experiment import Parts, assemble
from cpca_jax.training.feed import Feeder, Sent, received
from cpca_jax.training.networks import Networks
from cpca_jax.training.objective import Objective
from cpca_jax.training.resume import about, resume
from cpca_jax.training.start import begin
from cpca_jax.training.steps import draws_per_step, make_train_step, unrolled_here
from cpca_jax.training.validation import Validation
from cpca_jax.types import Params, RandomKey, Scalars

# Compiling takes about this many times as long as tracing (measured on CPUs, CPCA-1 and CPCA-7).
_COMPILED_PER_TRACED = 5.0
# A step that is traced in less was compiled before in this process.
_TRACED_BEFORE_SECONDS = 0.05


def train(experiment: Experiment, workdir: Path) -> TrainState:
    """Train an experiment in a folder; a second call continues where the first stopped.

    It leaves checkpoints, `train.jsonl`, `validation.jsonl`, TensorBoard event files and the
    configuration in the folder.

    Raises:
        InputError: Configuration or data are bad, another training is running in the folder, or
            the folder's run has another configuration.
        StoppedError: A signal or Ctrl-C asked to stop before the last step; the state is saved.
        DivergedError: The training diverged; the last sound checkpoint remains.
    """
    return train_parts(assemble(experiment), workdir)


def train_parts(parts: Parts, workdir: Path) -> TrainState:
    """Train as `train` does, from parts that exist already, perhaps with another sampler."""
    experiment = parts.experiment
    placement = choose_devices(experiment.data.batch, wanted=experiment.compute.devices)
    with circumstances.disk_errors(workdir.name):
        workdir.mkdir(parents=True, exist_ok=True)
    alone = locks.hold(workdir / ".lock", workdir.name, "another training is running in it")
    with alone if processes.is_first() else nullcontext(), stop_asked() as stop:
        if processes.is_first():
            partials.remove_leftovers(workdir, recursive=True)
        beginning = resume(parts, workdir)
        if beginning is None:
            beginning = begin(parts, placement, say=logs.say)
            if processes.is_first():
                text = config.to_json(experiment)
                files.write_file(workdir / "config.json", text.encode(), shared=True)
        training = _Training(parts, placement, workdir, stop, origin=beginning.origin)
        state = training.run(beginning.state)
    if int(state.step) < experiment.train.total_steps:
        # An error, because a caller that trains one run after the other must not go on.
        raise StoppedError(
            f"{workdir.name}: stopped at step {int(state.step)} as asked; run the same command "
            "again to continue"
        )
    return state


class _Training:
    """The loop over steps: step, log, validate, save."""

    def __init__(
        self,
        parts: Parts,
        placement: Placement,
        workdir: Path,
        stop: Stop,
        *,
        origin: Mapping[str, str],
    ) -> None:
        self.parts, self.placement, self.workdir, self.stop = parts, placement, workdir, stop
        self.about = {**about(parts), **origin}
        self.feeder = Feeder(
            parts.sampler,
            placement,
            batch=parts.experiment.data.batch,
            draws=draws_per_step(parts.networks, parts.experiment.loss),
            resident_volumes=parts.experiment.compute.resident,
        )
        self.step = _compiled_step(parts.networks, parts.objective, placement, self.feeder.spec)
        self.validation = Validation(parts)
        self.config = parts.experiment.train

    def run(self, state: TrainState) -> TrainState:
        """Train from `state` to the last step, and return the last state."""
        first, last = int(state.step), self.config.total_steps
        self._announce(first, last)
        log = run_log.RunLog(self.workdir, first) if processes.is_first() else run_log.NoLog()
        with closing(log):
            return self._steps(state, first, last, log)

    def _steps(self, state: TrainState, first: int, last: int, log: run_log.Log) -> TrainState:
        if first == 0:
            self._validate(state, log)
        state = self.placement.replicate(state)
        params = self.placement.replicate(self.parts.features.params)
        key = self.placement.replicate_key(
            jax.random.fold_in(jax.random.key(self.config.seed), STEP_KEY)
        )
        clock, logged, done = time.monotonic(), first, first
        previous: Scalars = {}
        losses = ""
        with logs.ProgressBar("training", last, first) as bar:
            for sent in prefetch(self._send, first, last):
                step = self._first_step if done == first else self.step
                state, scalars = step(state, sent, self.feeder.held, params, key)
                done += 1
                if done % self.config.log_every == 0 or done == last:
                    values = {k: float(v) for k, v in scalars.items()}
                    seconds = (time.monotonic() - clock) / (done - logged)
                    self._log(log, done, values | {"seconds_per_step": seconds})
                    clock, logged = time.monotonic(), done
                    losses = _noted(values)
                if done == first + 1:  # its time is that of the compiling
                    clock, logged = time.monotonic(), done
                    bar.begin()
                jax.block_until_ready(previous)  # one step ahead of the device, no further
                previous = scalars
                bar.advance(losses)
                if self._after_step(state, done, log):
                    break
        return state

    def _first_step(
        self, state: TrainState, sent: Sent, held: Params, params: Params, key: RandomKey
    ) -> tuple[TrainState, Scalars]:
        """Compile and make the first step; say so meanwhile, if that takes time."""
        begun = time.monotonic()
        with ending_at_once():  # nothing has happened yet since the checkpoint
            self.step.trace(state, sent, held, params, key)
            traced = time.monotonic() - begun
            told = traced >= _TRACED_BEFORE_SECONDS
            if told:
                about = max(round(_COMPILED_PER_TRACED * traced), 1)
                logs.say(f"compiling the training step (about {about} s)")
            made: tuple[TrainState, Scalars] = self.step(state, sent, held, params, key)
            jax.block_until_ready(made[1])
        if told:
            logs.say(f"compiled; with the first step it took {time.monotonic() - begun:.0f} s")
        return made

    def _after_step(self, state: TrainState, done: int, log: run_log.Log) -> bool:
        """Validate and save when due; tell whether to stop."""
        asked = self._asked(done)
        last = done == self.config.total_steps
        every = self.config.checkpoint_every or self.config.steps_per_epoch
        validating = done % self.config.steps_per_epoch == 0 or last
        saving_due = done % every == 0 or last or asked
        if validating or saving_due:
            state = jax.device_get(state)  # once for all that follows
            require_finite_state(state, self.parts.experiment, self.workdir)
        if validating:
            self._validate(state, log)
        if saving_due:
            self._save(state)
        return asked

    def _asked(self, done: int) -> bool:
        """Tell whether to stop; several processes agree on it, at steps where they wait anyway."""
        if jax.process_count() == 1:
            return self.stop.asked
        return done % self.config.log_every == 0 and processes.anywhere(self.stop.asked)

    def _send(self, step: int) -> Sent:
        return self.feeder.send(self.config.seed, step)

    def _log(self, log: run_log.Log, step: int, scalars: dict[str, float]) -> None:
        require_finite_scalars(scalars, step, self.parts.experiment, self.workdir)
        log.write("train", step, scalars)
        if scalars["output_sd"] < 1e-6:
            logs.say(
                f"warning: at step {step} the network's output is constant (a dead last ReLU?)"
            )

    def _validate(self, state: TrainState, log: run_log.Log) -> None:
        """Score the current generator on slices that it is not trained on."""
        if not (self.parts.validation and processes.is_first()):
            return
        step = int(state.step)
        # On the host, because one process scores what lies on the devices of all processes.
        try:
            scores = self.validation.scores(jax.device_get(state.generator))
        except NotFiniteError as error:
            bad = ["the network's output"]
            raise diverged(step, bad, self.parts.experiment, self.workdir) from error
        epoch = step / self.config.steps_per_epoch
        line = {"epoch": epoch} | scores
        log.write("validation", step, line)
        both = (
            f"{m.label} {m.show(scores[name])} (low dose {m.show(scores['low_' + name])})"
            for name, m in drawn().items()
        )
        logs.say(f"  epoch {epoch:g}: validation {', '.join(both)}")

    def _save(self, state: TrainState) -> None:
        self.parts.store.require_unchanged()
        if not processes.is_first():
            return
        with processes.saving():
            saving.save(
                self.workdir,
                state,
                config.to_json(self.parts.experiment),
                about=self.about,
                keep=self.config.keep_checkpoints,
                keep_every=self.config.keep_every,
            )

    def _announce(self, first: int, last: int) -> None:
        e, features = self.parts.experiment, self.parts.features
        where = f"{len(self.placement.devices)} {jax.devices()[0].device_kind}"
        logs.say(
            f"{e.model.name}-{e.model.slices}: steps {first} to {last}, batch {e.data.batch} of "
            f"{e.data.patch}x{e.data.patch}, on {where}; feature network {features.label}"
        )


def _noted(scalars: Mapping[str, float]) -> str:
    """Return the losses as a note beside the progress."""
    kept = (f"{name} {value:.3g}" for name, value in scalars.items() if "loss" in name)
    return ", ".join(kept)


@lru_cache(maxsize=8)
def _compiled_step(  # type: ignore[no-untyped-def]
    networks: Networks, objective: Objective, placement: Placement, spec: PatchSpec | None
):
    """Return the jitted training step, cached: trainings that differ only in data compile once."""
    train_step = make_train_step(networks, objective, unroll=unrolled_here())

    def step(
        state: TrainState, sent: Sent, held: Params, feature_params: Params, key: RandomKey
    ) -> tuple[TrainState, Scalars]:
        return train_step(state, received(sent, held, spec), feature_params, key)

    return jax.jit(step, donate_argnums=0, out_shardings=placement.everywhere)
