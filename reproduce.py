"""The deck's experiments as one: reproduce.py --config configs/deck.py:demo --workdir DIR.

Interrupt it and run the same command again: it goes on. A changed configuration reruns only what
hangs on it.
"""

import shutil
from pathlib import Path

from absl import flags

from cpca_jax.programs import launch
from cpca_jax.reproduction import engine, inputs
from cpca_jax.reproduction.plan import REPORT, make_plan
from cpca_jax.runtime import logs

_CONFIG = launch.config_flag()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for everything.")
_ONLY = flags.DEFINE_list("only", [], "Stages to do, with all that they need; none: all.")
_DRY = flags.DEFINE_bool("dry_run", False, "Say what would be done and how long it takes.")
launch.require("config", "workdir")


def main() -> None:
    """Plan, and do what is left."""
    # Whole, so that a run that goes on from another folder knows its sources again.
    workdir = Path(_WORKDIR.value).resolve()
    plan = make_plan(_CONFIG.value, workdir)
    if _DRY.value:
        for line in plan.describe(_ONLY.value):
            logs.say(line)
        return
    inputs.require_features(_CONFIG.value)
    plan.run(_ONLY.value, say=logs.say)
    if plan.seconds_taken(REPORT) is None:
        return
    for path in plan.folder(REPORT).iterdir():
        if path.name != engine.DONE:
            shutil.copy(path, workdir / path.name)
    logs.say(f"done: {workdir / 'report.html'}")


if __name__ == "__main__":
    launch.run(main)
