"""Score trained runs on full slices against low dose: tables, scores, figures.

cpca evaluate --runs RUN,RUN3 --store STORE --output DIR [--protocol deck] [--split test]
"""

from functools import partial
from pathlib import Path

from absl import flags

from cpca_jax.programs import launch

PROGRAM = launch.Program(__doc__)
PROGRAM.plugin_flag()
_text = partial(flags.DEFINE_string, flag_values=PROGRAM.flags)
_names = partial(flags.DEFINE_list, flag_values=PROGRAM.flags)
_count = partial(flags.DEFINE_integer, flag_values=PROGRAM.flags)
# Written out here, because the table of protocols needs JAX.
PROTOCOLS = (
    "deck",
    "deck-range1",
    "abdomen-160-240",
    "benchmark-chest",
    "benchmark-abdomen",
    "benchmark-head",
    "full",
)

_RUNS = _names("runs", [], "The folders of trained runs; low dose only if none is given.")
_STORE = PROGRAM.required("store", "A store made by prepare.")
_OUTPUT = PROGRAM.required("output", "The folder for tables and figures.")
_PROTOCOL = _text("protocol", "deck", f"One of {', '.join(PROTOCOLS)}.")
_SPLIT = _text("split", "test", "The patients of the store to score: a name of its split.")
_KERNELS = _names("kernels", [], "The reconstruction kernels to use; all if none is given.")
_NETWORK = _text(
    "feature_network", "", "The feature network; by default that of the first run, or vgg16."
)
_TAP = _text(
    "tap", "", "The layer of its features; by default that of the first run, or the last one."
)
_WEIGHTS = _text("weights", "", "The file of its weights (docs/feature_network.md).")
_SLICES = _count(
    "slices", 0, "The number of middle slices of each series; 0 for all.", lower_bound=0
)
_BATCH = _count("batch", 4, "The number of slices at once.", lower_bound=1)
_FIGURES = _count("figures", 3, "The number of slices to draw.", lower_bound=0)


def main() -> None:
    """Evaluate and write the report."""
    from cpca_jax.evaluation import comparison
    from cpca_jax.runtime import accelerators, logs

    chosen = comparison.EvaluationOptions(
        protocol=_PROTOCOL.value,
        split=_SPLIT.value,
        kernels=tuple(_KERNELS.value),
        network=_NETWORK.value,
        tap=_TAP.value,
        weights=_WEIGHTS.value,
        slices=_SLICES.value,
        batch=_BATCH.value,
        figures=_FIGURES.value,
    )
    accelerators.warn()
    runs = [Path(run) for run in _RUNS.value]
    table = comparison.compare(runs, Path(_STORE.value), Path(_OUTPUT.value), chosen)
    logs.show(str(table))
