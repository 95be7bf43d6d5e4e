"""Make a store of paired scans, or of phantoms.

cpca prepare --input DIR --output STORE
cpca prepare --phantom 4 --output STORE

docs/data.md explains the layout of folders, and the meaning of every refusal.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from cpca_jax.errors import ConfigError
from cpca_jax.programs import launch
from cpca_jax.runtime import logs, streams
from cpca_jax.values import NOT_NEGATIVE, require

if TYPE_CHECKING:
    from cpca_jax.data.store.reader import Store

PROGRAM = launch.Program(__doc__)
PROGRAM.plugin_flag()
_text = partial(flags.DEFINE_string, flag_values=PROGRAM.flags)
_names = partial(flags.DEFINE_list, flag_values=PROGRAM.flags)
_count = partial(flags.DEFINE_integer, flag_values=PROGRAM.flags)
_number = partial(flags.DEFINE_float, flag_values=PROGRAM.flags)
_switch = partial(flags.DEFINE_bool, flag_values=PROGRAM.flags)

_INPUT = _text("input", None, "The folder of scans, of both dose levels or one.")
_FULL = _text("full", None, "The folder of full dose alone, instead of --input.")
_LOW = _text("low", None, "The folder of low dose alone, together with --full.")
_OUTPUT = _text("output", None, "The folder of the new store.")
_CHECK = _switch("check", False, "Do everything except writing the store.")
_REPORT = _text("report", None, "A further .html file to write the page to.")
_PHANTOM = _count("phantom", None, "The number of phantoms to make instead of reading scans.")
_DOSE = _number("simulate_dose", None, "The share of the full dose to simulate.")
_SLICES = _count("slices", 32, "The number of slices of a phantom.")
_INTERVAL = _number("interval_mm", 3.0, "The distance and thickness of those slices in mm.")
_SIZE = _count("size", 512, "The number of rows and of columns of a phantom.")
_SEED = _count("seed", 0, "The seed of split, phantoms and simulated noise.")
_TEST = _names("test", [], "The patients to test on, comma-separated.")
_VALIDATION = _names("validation", [], "The patients to validate on, comma-separated.")
_SPLIT_BY = _text("split_by", None, "A published split: ldct-benchmark or lodopab.")
_SPLIT_FILE = _text("split_file", None, "A JSON file {patient: split}.")


def main() -> None:
    """Prepare the store, and report what it holds."""
    reads = any(flag.value for flag in (_INPUT, _FULL, _LOW))
    if reads == (_PHANTOM.value is not None):
        raise ConfigError("--input and --phantom: give one of them")
    if _CHECK.value and not reads:
        raise ConfigError("--check and --phantom: there is nothing to check")
    if _OUTPUT.value is None and not _CHECK.value:
        raise ConfigError("--output is missing; see --help")
    _refuse_without_effect(reads)
    output = _path(_OUTPUT.value)
    made = _read_scans(output) if reads else _make_phantoms(Path(_OUTPUT.value))
    if made is None:
        logs.say("checked; nothing was written")
        streams.require_output()
    else:
        logs.say(f"{output}: {len(made.series)} series, fingerprint {made.fingerprint[:12]}")


def _refuse_without_effect(reads: bool) -> None:
    """Refuse flags that what is to be done does not use: whoever gives one expects an effect."""
    of_scans = ("test", "validation", "split_by", "split_file", "report")
    of_phantoms = ("slices", "interval_mm", "size")
    for name in of_phantoms if reads else of_scans:
        if PROGRAM.flags[name].present:
            wanted = "--phantom" if reads else "--input"
            raise ConfigError(f"--{name}: it has no effect here; it belongs to {wanted}")
    require("--seed", _SEED.value, NOT_NEGATIVE)


def _make_phantoms(output: Path) -> "Store":
    from cpca_jax.preparation import prepare

    return prepare.prepare_phantoms(
        _PHANTOM.value,
        output,
        slices=_SLICES.value,
        size=_SIZE.value,
        dose=0.25 if _DOSE.value is None else _DOSE.value,
        seed=_SEED.value,
        interval_mm=_INTERVAL.value,
        say=logs.say,
        track=logs.track,
    )


def _read_scans(output: Path | None) -> "Store | None":
    from cpca_jax.data.collections.sources import Inputs
    from cpca_jax.data.collections.splits import SplitChoice
    from cpca_jax.preparation import prepare

    choice = SplitChoice(
        _TEST.value, _VALIDATION.value, _SPLIT_BY.value, _path(_SPLIT_FILE.value), _SEED.value
    )
    return prepare.prepare_scans(
        Inputs(_path(_INPUT.value), _path(_FULL.value), _path(_LOW.value)),
        output,
        choice=choice,
        simulate_dose=_DOSE.value,
        check=_CHECK.value,
        report=_path(_REPORT.value),
        say=logs.say,
        track=logs.track,
    )


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
