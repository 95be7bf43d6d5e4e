"""Make a store: prepare.py --input DIR --output STORE, or --phantom 4 --output STORE."""

from pathlib import Path

from absl import flags

from cpca_jax.data.collections.sources import Inputs
from cpca_jax.data.collections.splits import SplitChoice
from cpca_jax.errors import ConfigError
from cpca_jax.preparation import prepare
from cpca_jax.programs import launch
from cpca_jax.runtime import logs

_INPUT = flags.DEFINE_string("input", None, "Folder of scans, both dose levels or one.")
_FULL = flags.DEFINE_string("full", None, "Folder of full dose alone, instead of --input.")
_LOW = flags.DEFINE_string("low", None, "Folder of low dose alone, beside --full.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the new store.")
_CHECK = flags.DEFINE_bool("check", False, "Do everything but write the store.")
_REPORT = flags.DEFINE_string("report", None, "Write the page here too (.html).")
_PHANTOM = flags.DEFINE_integer("phantom", None, "Make this many phantoms instead of reading.")
_DOSE = flags.DEFINE_float("simulate_dose", None, "Simulate this share of the full dose.")
_SLICES = flags.DEFINE_integer("slices", 32, "Slices of a phantom.")
_INTERVAL = flags.DEFINE_float("interval_mm", 3.0, "Distance and thickness of those slices.")
_SIZE = flags.DEFINE_integer("size", 512, "Rows and columns of a phantom.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of split, phantoms and simulated noise.")
_TEST = flags.DEFINE_list("test", [], "Patients to test on, comma-separated.")
_VALIDATION = flags.DEFINE_list("validation", [], "Patients to validate on, comma-separated.")
_SPLIT_BY = flags.DEFINE_string("split_by", None, "A published split: ldct-benchmark, lodopab.")
_SPLIT_FILE = flags.DEFINE_string("split_file", None, "JSON file {patient: split}.")


def main() -> None:
    """Prepare, and say what the store holds."""
    named = (_INPUT, _FULL, _LOW, _OUTPUT, _REPORT, _SPLIT_FILE)
    *folders, output, report, file = (Path(flag.value) if flag.value else None for flag in named)
    if any(folders) == (_PHANTOM.value is not None):
        raise ConfigError("--input and --phantom: give one of them")
    if _CHECK.value and not any(folders):
        raise ConfigError("--check and --phantom: there is nothing to check")
    if _OUTPUT.value is None and not _CHECK.value:
        raise ConfigError("--output is missing; see --help")
    shown = {"say": logs.say, "track": logs.track}
    if _PHANTOM.value is not None:
        shape = {"slices": _SLICES.value, "size": _SIZE.value, "interval_mm": _INTERVAL.value}
        drawn = {"dose": 0.25 if _DOSE.value is None else _DOSE.value, "seed": _SEED.value}
        made = prepare.prepare_phantoms(_PHANTOM.value, output, **drawn, **shape, **shown)
    else:
        choice = SplitChoice(_TEST.value, _VALIDATION.value, _SPLIT_BY.value, file, _SEED.value)
        wanted = {"choice": choice, "simulate_dose": _DOSE.value, "check": _CHECK.value}
        made = prepare.prepare_scans(Inputs(*folders), output, **wanted, report=report, **shown)
    done = f"{len(made.series)} series, fingerprint {made.fingerprint[:12]}" if made else ""
    logs.say(f"{output}: {done}" if made else "checked; nothing was written")


if __name__ == "__main__":
    launch.run(main)
