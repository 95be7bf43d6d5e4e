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
# Written out, because the table of protocols needs JAX.
PROTOCOLS = (
    "deck",
    "deck-range1",
    "abdomen-160-240",
    "benchmark-chest",
    "benchmark-abdomen",
    "benchmark-head",
    "full",
)

_RUNS = _names("runs", [], "Folders of trained runs; none: low dose only.")
_STORE = PROGRAM.required("store", "A store made by prepare.")
_OUTPUT = PROGRAM.required("output", "Folder for tables and figures.")
_PROTOCOL = _text("protocol", "deck", f"One of {', '.join(PROTOCOLS)}.")
_SPLIT = _text("split", "test", "Which patients of the store.")
_KERNELS = _names("kernels", [], "Reconstruction kernels to use; none: all.")
_NETWORK = _text("feature_network", "", "Default: that of the first run, or vgg16.")
_TAP = _text("tap", "", "Where its features are taken; default as above.")
_WEIGHTS = _text("weights", "", "File of its weights (docs/feature_network.md).")
_SLICES = _count("slices", 0, "Middle slices of each series; 0: all.", lower_bound=0)
_BATCH = _count("batch", 4, "Slices at once.", lower_bound=1)
_FIGURES = _count("figures", 3, "How many slices to draw.", lower_bound=0)


def main() -> None:
    """Evaluate and write the report."""
    from cpca_jax.evaluation import comparison

    chosen = comparison.Choices(
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
    runs = [Path(run) for run in _RUNS.value]
    comparison.compare(runs, Path(_STORE.value), Path(_OUTPUT.value), chosen)
