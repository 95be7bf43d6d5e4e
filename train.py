"""Train a denoiser: one experiment, one configuration file.

python train.py --config configs/cpca1.py --workdir RUN --config.data.store=STORE

Interrupt it and run the same command again: it goes on. On several GPUs, TPUs or machines at once
it is one process for each: launch/README.md.
"""

from pathlib import Path

from absl import flags

from cpca_jax.programs import launch
from cpca_jax.runs import config
from cpca_jax.runtime import logs, processes
from cpca_jax.training import procedures

_CONFIG = launch.config_flag()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    "",
    "The processes of this training: none but this one (empty), those that Slurm, Open MPI, Cloud "
    "TPU or Kubernetes started (auto), or HOST:PORT,COUNT,INDEX with the address of process 0.",
)
launch.require("config", "workdir")


def main() -> None:
    """Parse the configuration, join the other processes, train."""
    workdir, experiment = Path(_WORKDIR.value), config.parse(_CONFIG.value)
    processes.join(_DISTRIBUTED.value)
    if not processes.is_first():
        logs.silence()
    procedures.train_to_end(experiment, workdir)
    logs.say(f"done: {workdir}/checkpoints, validation.jsonl, train.jsonl, events (TensorBoard)")


if __name__ == "__main__":
    launch.run(main)
