"""Denoise DICOM series and NIfTI files.

cpca denoise --run RUN --input DICOM_DIR --output DICOM_DIR2

docs/denoise.md says what it writes, keeps and refuses.
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

_RUN = PROGRAM.required("run", "Folder of a trained run, or identity: change nothing.")
_INPUT = PROGRAM.required("input", "Folder of CT series or NIfTI files, or one such.")
_OUTPUT = PROGRAM.required("output", "Folder for the denoised series, outside the input.")
_SERIES = _names("series", [], "Names of the series to denoise, as printed; none: all.")
_SHARD = _text("shard", "1/1", "i/n: the i-th of n parts, for n machines.")
_SLAB = _count(
    "slab", 0, "Slices at once; 0: as many as pay and as the device's memory holds.", lower_bound=0
)
_COMPARE = _switch("compare", False, "Also draw before, after and difference.")
_ASSUME_HU = _switch("assume_hu", False, "Take values for HU whatever RescaleType says.")
_SORT = _choice("sort", "position", ["position", "instance"], "If positions are missing.")
_PRIVATE = _switch("keep_private", False, "Keep private elements.")
_REPAIR = _switch("repair_uids", False, "Make up UIDs where they are missing.")
_CREATED = _text("created", None, "Date and time to write, like 2026-01-31T12:00:00.")


def main() -> None:
    """Denoise, and say what was done."""
    from cpca_jax.data.dicom.header import Allowances
    from cpca_jax.denoising import denoiser, folder

    choices = folder.Choices(
        series=tuple(_SERIES.value),
        shard=folder.parse_shard(_SHARD.value),
        slab=_SLAB.value,
        compare=_COMPARE.value,
        allowances=Allowances(_ASSUME_HU.value, _SORT.value == "instance"),
        keep_private=_PRIVATE.value,
        repair_uids=_REPAIR.value,
        created=_created(),
    )
    model = denoiser.load_run(_RUN.value)
    folder.denoise_folder(model, Path(_INPUT.value), Path(_OUTPUT.value), choices)


def _created() -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(_CREATED.value) if _CREATED.value else None
    except ValueError:
        raise ConfigError(
            f"--created is {_CREATED.value}, must be like 2026-01-31T12:00:00"
        ) from None
