"""Train a denoiser: one experiment, one configuration file.

python train.py --config configs/cpca1.py --workdir RUN --config.data.store=STORE

Interrupt it and run the same command again: it goes on.
"""

from pathlib import Path

from absl import flags

from cpca_jax import config, launch, logs, stagewise

_CONFIG = launch.config_flag()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
launch.require("config", "workdir")


def main() -> None:
    """Parse the configuration and train."""
    workdir = Path(_WORKDIR.value)
    stagewise.train(config.parse(_CONFIG.value), workdir)
    logs.say(f"done: {workdir}/checkpoints, validation.jsonl, train.jsonl, events (TensorBoard)")


if __name__ == "__main__":
    launch.run(main)
