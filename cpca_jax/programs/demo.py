"""See the whole idea work on phantoms, with no data and no network.

cpca demo [--workdir runs/demo]

The deck is a talk by Shan et al. (2017); the demo runs its idea, from phantoms to table, in a few
minutes on two cores. Each stage does the work of another program and names that program and the
place of its result.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from cpca_jax import configs
from cpca_jax.errors import ConfigError
from cpca_jax.programs import launch
from cpca_jax.runs import config
from cpca_jax.runs.config import Experiment
from cpca_jax.runtime import accelerators
from cpca_jax.runtime.logs import say, show, track

if TYPE_CHECKING:
    from cpca_jax.evaluation import report

PROGRAM = launch.Program(__doc__)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    "runs/demo",
    "The folder for everything that the demo makes.",
    flag_values=PROGRAM.flags,
)
# Training, validation and test phantoms differ in every organ; no training sees the test ones.
PHANTOMS, SLICES, SEED = 5, 10, 2017
STAGES = 4


def main() -> None:
    """Run the stages of the demo, except those already done."""
    accelerators.warn()
    run(Path(_WORKDIR.value))


def run(workdir: Path) -> None:
    """Run the stages; a second call skips finished stages and continues an interrupted one.

    Args:
        workdir: The folder for everything.

    Raises:
        ConfigError: `workdir` is a file.
        StoppedError: A training was asked to stop.
    """
    # Imported here, so that --help does not need JAX.
    from cpca_jax.evaluation import comparison
    from cpca_jax.preparation import prepare
    from cpca_jax.training import procedures

    def experiment(variant: str, source: Path | str) -> Experiment:
        chosen = configs.load(f"demo:{variant}")
        chosen.data.store, chosen.transfer.run = str(store), str(source)
        return config.parse(chosen)

    store, cpca1, cpca3 = workdir / "store", workdir / "CPCA-1", workdir / "CPCA_TF-3"
    if workdir.exists() and not workdir.is_dir():
        raise ConfigError(f"--workdir: {workdir} is a file; it must be a folder")
    clock = time.monotonic()
    _stage(1, f"phantoms and their low dose -> {store}", _prepare_command(store))
    if (store / "manifest.json").exists():
        say("  there already")
    else:
        prepare.prepare_phantoms(
            PHANTOMS, store, slices=SLICES, seed=SEED, say=_indented, track=track
        )
    _stage(
        2,
        f"CPCA-1 (2D) under WGAN-GP and perceptual loss -> {cpca1}",
        f"train --config demo --workdir {cpca1} --config.data.store={store}",
    )
    procedures.train(experiment("scratch", ""), cpca1)
    _stage(
        3,
        f"CPCA-1 transferred to CPCA-3 (3D), fine-tuned -> {cpca3}",
        f"train --config demo:transfer --workdir {cpca3} "
        f"--config.data.store={store} --config.transfer.run={cpca1}",
    )
    procedures.train(experiment("transfer", cpca1), cpca3)
    output = workdir / "evaluation"
    _stage(
        4,
        f"both on whole 512x512 slices of phantoms that no training saw -> {output}",
        f"evaluate --runs {cpca1},{cpca3} --store {store} --output {output}",
    )
    table = comparison.compare([cpca1, cpca3], store, output, comparison.EvaluationOptions())
    show(str(table))
    _conclude(table, output, time.monotonic() - clock)


def _prepare_command(store: Path) -> str:
    return f"prepare --phantom {PHANTOMS} --slices {SLICES} --seed {SEED} --output {store}"


def _stage(number: int, what: str, command: str) -> None:
    name, _, arguments = command.partition(" ")
    # In the form in which the user called this program: from the checkout, or as installed.
    program = f"python {name}.py" if sys.argv[0].endswith(".py") else f"cpca {name}"
    show(f"\n[{number}/{STAGES}] {what}\n      {program} {arguments}")


def _indented(line: str) -> None:
    say(f"  {line}")


def _conclude(table: "report.Table", output: Path, seconds: float) -> None:
    from cpca_jax.metrics.table import drawn

    low, *methods = table.rows
    for row in methods:
        gains = (
            f"{metric.label} {metric.show(row.scores[name] - low.scores[name], signed=True)}"
            for name, metric in drawn().items()
        )
        say(f"{row.method} against low dose: {', '.join(gains)}")
    show(f"\nSynthetic data: phantoms, simulated dose. Feature network: {table.feature_network}.")
    say(f"Table: {output / 'table.md'}; look at {output}/case-*.png and {output / 'curves.png'}")
    say(f"{seconds:.0f} s in total")
