"""Make a store: prepare.py --input DICOM_DIR --output STORE, or --phantom 4 --output STORE."""

from pathlib import Path

from absl import flags

from cpca_jax import launch, logs, preparation
from cpca_jax.errors import ConfigError

_INPUT = flags.DEFINE_string("input", None, "Folder of DICOM files, both dose levels or one.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the new store.")
_PHANTOM = flags.DEFINE_integer("phantom", None, "Make this many phantoms instead of reading.")
_DOSE = flags.DEFINE_float("simulate_dose", None, "Simulate this share of the full dose.")
_SLICES = flags.DEFINE_integer("slices", 32, "Slices of a phantom.")
_SIZE = flags.DEFINE_integer("size", 512, "Rows and columns of a phantom.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of split, phantoms and simulated noise.")
_TEST = flags.DEFINE_list("test", [], "Patients to test on, comma-separated.")
_VALIDATION = flags.DEFINE_list("validation", [], "Patients to validate on, comma-separated.")
launch.require("output")


def main() -> None:
    """Prepare, and say what the store holds."""
    if (_INPUT.value is None) == (_PHANTOM.value is None):
        raise ConfigError("--input and --phantom: give one of them")
    output, shown = Path(_OUTPUT.value), {"say": logs.say, "track": logs.track}
    if _PHANTOM.value is not None:
        shape = {"slices": _SLICES.value, "size": _SIZE.value, "seed": _SEED.value}
        dose = 0.25 if _DOSE.value is None else _DOSE.value
        made = preparation.prepare_phantoms(_PHANTOM.value, output, dose=dose, **shape, **shown)
    else:
        lists = {"test": _TEST.value, "validation": _VALIDATION.value, "seed": _SEED.value}
        made = preparation.prepare_dicom(
            Path(_INPUT.value), output, simulate_dose=_DOSE.value, **lists, **shown
        )
    logs.say(f"{output}: {len(made.series)} series, fingerprint {made.fingerprint[:12]}")


if __name__ == "__main__":
    launch.run(main)
