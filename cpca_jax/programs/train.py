"""Train a denoiser: one experiment, one configuration.

cpca train --config cpca1 --workdir RUN --config.data.store=STORE

Interrupt it and run the same command again: it continues. On several GPUs, TPUs or machines at
once, one process runs on each: launch/README.md.
"""

from pathlib import Path

from absl import flags

from cpca_jax.programs import launch, usage

PROGRAM = launch.Program(__doc__)
_CONFIG = PROGRAM.config_flag(usage.EXPERIMENT)
PROGRAM.plugin_flag()
_WORKDIR = PROGRAM.required("workdir", "The folder of the run.")
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    "",
    "The processes of this training: only this one (empty), those that Slurm, Open MPI, Cloud TPU "
    "or Kubernetes started (auto), or HOST:PORT,COUNT,INDEX with the address of process 0.",
    flag_values=PROGRAM.flags,
)


def main() -> None:
    """Parse the configuration, join the other processes, and train."""
    from cpca_jax.runs import config
    from cpca_jax.runtime import accelerators, logs, processes
    from cpca_jax.training import procedures

    chosen, workdir = _CONFIG.value, Path(_WORKDIR.value)
    chosen.plugins = PROGRAM.plugins
    experiment = config.parse(chosen)
    processes.join(_DISTRIBUTED.value)
    accelerators.warn()
    if not processes.is_first():
        logs.silence()
    with processes.together():
        procedures.train(experiment, workdir)
    logs.say(f"done: {workdir}/checkpoints, validation.jsonl, train.jsonl, events (TensorBoard)")
