"""Turn the weights of a PyTorch denoiser into a run.

cpca convert --config red_cnn --weights FILE.safetensors --workdir RUN

The run can be evaluated and transferred. No store is needed. docs/pytorch.md explains how to save
the file, and which networks are known.
"""

from pathlib import Path

from absl import flags

from cpca_jax.programs import launch, usage

PROGRAM = launch.Program(__doc__)
_CONFIG = PROGRAM.config_flag(usage.EXPERIMENT)
_WEIGHTS = PROGRAM.required("weights", "The state dict, a .safetensors or .npz file.")
_WORKDIR = PROGRAM.required("workdir", "The folder of the run.")
_NAMES = flags.DEFINE_string(
    "names", "", "A JSON file with PyTorch's layer names by ours.", flag_values=PROGRAM.flags
)


def main() -> None:
    """Parse the configuration and convert the weights."""
    from cpca_jax.runs import config
    from cpca_jax.runtime import logs
    from cpca_jax.training import conversion

    names = Path(_NAMES.value) if _NAMES.value else None
    experiment, weights = config.parse(_CONFIG.value), Path(_WEIGHTS.value)
    checkpoint = conversion.convert(experiment, weights, Path(_WORKDIR.value), names=names)
    logs.say(f"done: {checkpoint}")
