"""Denoise DICOM series and NIfTI files.

cpca denoise --run RUN --input DICOM_DIR --output DICOM_DIR2

docs/denoise.md explains what it writes, keeps and refuses.
"""

import datetime
from functools import partial
from pathlib import Path

from absl import flags

from cpca_jax.errors import ConfigError
from cpca_jax.programs import launch

PROGRAM = launch.Program(__doc__)
PROGRAM.plugin_flag()
_text = partial(flags.DEFINE_string, flag_values=PROGRAM.flags)
_names = partial(flags.DEFINE_list, flag_values=PROGRAM.flags)
_count = partial(flags.DEFINE_integer, flag_values=PROGRAM.flags)
_choice = partial(flags.DEFINE_enum, flag_values=PROGRAM.flags)
_switch = partial(flags.DEFINE_bool, flag_values=PROGRAM.flags)

_RUN = PROGRAM.required("run", "The folder of a trained run, or 'identity' to change nothing.")
_INPUT = PROGRAM.required("input", "A folder of CT series or NIfTI files, or one NIfTI file.")
_OUTPUT = PROGRAM.required("output", "The folder for the denoised series, outside the input.")
_SERIES = _names(
    "series", [], "The names of the series to denoise, as printed; all if none is given."
)
_SHARD = _text("shard", "1/1", "i/n for the i-th of n parts, for n machines.")
_SLAB = _count(
    "slab",
    0,
    "The number of slices at once; 0 for as many as are faster and fit in the device's memory.",
    lower_bound=0,
)
_COMPARE = _switch("compare", False, "Also draw before, after and difference.")
_ASSUME_HU = _switch("assume_hu", False, "Take values as HU whatever RescaleType says.")
_SORT = _choice(
    "sort",
    "position",
    ["position", "instance"],
    "The order of slices; 'instance' is for missing positions.",
)
_PRIVATE = _switch("keep_private", False, "Keep private elements.")
_REPAIR = _switch("repair_uids", False, "Make up missing UIDs.")
_CREATED = _text("created", None, "The date and time to write, such as 2026-01-31T12:00:00.")


def main() -> None:
    """Denoise the input, and report what was done."""
    from cpca_jax.data.dicom.header import Allowances
    from cpca_jax.denoising import denoiser, folder
    from cpca_jax.runtime import accelerators

    choices = folder.DenoisingOptions(
        series=tuple(_SERIES.value),
        shard=folder.parse_shard(_SHARD.value),
        slab=_SLAB.value,
        compare=_COMPARE.value,
        allowances=Allowances(_ASSUME_HU.value, _SORT.value == "instance"),
        keep_private=_PRIVATE.value,
        repair_uids=_REPAIR.value,
        created=_created(),
    )
    accelerators.warn()
    model = denoiser.load_run(_RUN.value)
    folder.denoise_folder(model, Path(_INPUT.value), Path(_OUTPUT.value), choices)


def _created() -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(_CREATED.value) if _CREATED.value else None
    except ValueError:
        raise ConfigError(
            f"--created is {_CREATED.value}, must have the form 2026-01-31T12:00:00"
        ) from None
