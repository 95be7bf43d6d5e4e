"""Repeat the deck's experiments: every training, table and figure.

cpca reproduce --config deck:demo --workdir DIR

The deck is a talk by Shan et al. (2017) on transfer learning for low-dose CT denoising. Interrupt
the program and run the same command again: it continues. After a change of the configuration it
reruns only what depends on the change.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from cpca_jax.errors import ConfigError
from cpca_jax.programs import launch, usage
from cpca_jax.runtime import accelerators, files, logs, streams

if TYPE_CHECKING:
    from ml_collections import ConfigDict

PROGRAM = launch.Program(__doc__)
_CONFIG = PROGRAM.config_flag(usage.REPRODUCTION)
PROGRAM.plugin_flag()
_WORKDIR = PROGRAM.required("workdir", "The folder for everything.")
_ONLY = flags.DEFINE_list(
    "only",
    [],
    "The stages to run, with all that they need; all if none is given.",
    flag_values=PROGRAM.flags,
)
_DRY = flags.DEFINE_bool(
    "dry_run",
    False,
    "Print each stage with its state and its time, and run none.",
    flag_values=PROGRAM.flags,
)


def main() -> None:
    """Plan the stages, and run those that are not done."""
    from cpca_jax.reproduction import engine, inputs
    from cpca_jax.reproduction.plan import REPORT, make_plan

    # An absolute path, so that a call from another folder finds the same sources.
    workdir = Path(_WORKDIR.value).resolve()
    remember_plugins(_CONFIG.value, PROGRAM.plugins)
    plan = make_plan(_CONFIG.value, workdir)
    if _DRY.value:
        for line in plan.describe(_ONLY.value):
            logs.say(line)
        streams.require_output()
        return
    inputs.require_features(_CONFIG.value)
    accelerators.warn()
    plan.run(_ONLY.value, say=logs.say)
    if plan.seconds_taken(REPORT) is None:
        return
    for path in plan.folder(REPORT).iterdir():
        if path.name != engine.DONE:
            shared = bool(path.stat().st_mode & 0o044)
            files.write_file(workdir / path.name, path.read_bytes(), shared=shared)
    logs.say(f"done: {workdir / 'report.html'}")


def remember_plugins(deck: "ConfigDict", names: tuple[str, ...]) -> None:
    """Write the names of the plug-ins into every training of a reproduction.

    Raises:
        ConfigError: The configuration is that of one experiment, not of a reproduction.
    """
    if "trainings" not in deck or "sweep" not in deck:
        raise ConfigError("--config: one experiment, must be a reproduction such as deck:demo")
    for training in deck.trainings.values():
        training.config.plugins = names
    deck.sweep.config.plugins = names
