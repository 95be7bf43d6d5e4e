"""Turn the weights of a PyTorch denoiser into a run that evaluate.py and transfers can use.

python convert.py --config configs/red_cnn.py --weights FILE.safetensors --workdir RUN

No store is needed. docs/pytorch.md says how to save the file and which networks are known.
"""

from pathlib import Path

from absl import flags

from cpca_jax.programs import launch
from cpca_jax.runs import config
from cpca_jax.runtime import logs
from cpca_jax.training import conversion

_CONFIG = launch.config_flag()
_WEIGHTS = flags.DEFINE_string("weights", None, "State dict, .safetensors or .npz.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_NAMES = flags.DEFINE_string("names", "", "JSON file: PyTorch's layer names by ours.")
launch.require("config", "weights", "workdir")


def main() -> None:
    """Parse the configuration and convert."""
    names = Path(_NAMES.value) if _NAMES.value else None
    experiment, weights = config.parse(_CONFIG.value), Path(_WEIGHTS.value)
    checkpoint = conversion.convert(experiment, weights, Path(_WORKDIR.value), names=names)
    logs.say(f"done: {checkpoint}")


if __name__ == "__main__":
    launch.run(main)
