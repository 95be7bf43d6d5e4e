"""Score trained runs on full slices against low dose: tables, per-slice scores, figures.

python evaluate.py --runs RUN,RUN3 --store STORE --output DIR [--protocol deck] [--split test]
"""

from pathlib import Path

from absl import flags

from cpca_jax.evaluation import comparison
from cpca_jax.metrics import protocols
from cpca_jax.programs import launch

_RUNS = flags.DEFINE_list("runs", [], "Folders of trained runs; none: low dose only.")
_STORE = flags.DEFINE_string("store", None, "A store made by prepare.py.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for tables and figures.")
_PROTOCOL = flags.DEFINE_string("protocol", "deck", f"One of {', '.join(protocols.PROTOCOLS)}.")
_SPLIT = flags.DEFINE_string("split", "test", "Which patients of the store.")
_KERNELS = flags.DEFINE_list("kernels", [], "Reconstruction kernels to use; none: all.")
_NETWORK = flags.DEFINE_string("feature_network", "", "Default: that of the first run, or vgg16.")
_TAP = flags.DEFINE_string("tap", "", "Where its features are taken; default as above.")
_WEIGHTS = flags.DEFINE_string("weights", "", "File of its weights (docs/feature_network.md).")
_SLICES = flags.DEFINE_integer("slices", 0, "Middle slices of each series; 0: all.", lower_bound=0)
_BATCH = flags.DEFINE_integer("batch", 4, "Slices at once.", lower_bound=1)
_FIGURES = flags.DEFINE_integer("figures", 3, "How many slices to draw.", lower_bound=0)
launch.require("store", "output")


def main() -> None:
    """Evaluate and write the report."""
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


if __name__ == "__main__":
    launch.run(main)
