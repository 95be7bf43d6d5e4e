"""See the whole idea work, with no data and no network: phantoms, training, transfer, evaluation.

python demo.py [--workdir runs/demo]
"""

from pathlib import Path

from absl import flags

from configs.demo import get_config
from cpca_jax.programs import demo, launch

_WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "Folder for everything the demo makes.")


def main() -> None:
    """Run the demo's stages; those already done are skipped."""
    demo.run(Path(_WORKDIR.value), get_config)


if __name__ == "__main__":
    launch.run(main)
