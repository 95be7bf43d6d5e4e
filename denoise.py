"""Denoise DICOM series: denoise.py --run RUN --input DICOM_DIR --output DICOM_DIR2."""

import datetime
from pathlib import Path

from absl import flags

from cpca_jax.data.dicom.header import Allowances
from cpca_jax.denoising import denoiser, folder
from cpca_jax.errors import ConfigError
from cpca_jax.programs import launch

_RUN = flags.DEFINE_string("run", None, "Folder of a trained run, or identity: change nothing.")
_INPUT = flags.DEFINE_string("input", None, "Folder of CT series or NIfTI files, or one such.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the denoised series, outside the input.")
_SERIES = flags.DEFINE_list("series", [], "Names of the series to denoise, as printed; none: all.")
_SHARD = flags.DEFINE_string("shard", "1/1", "i/n: the i-th of n parts, for n machines.")
_SLAB = flags.DEFINE_integer(
    "slab", 0, "Slices at once; 0: as many as pay and as the device's memory holds.", lower_bound=0
)
_COMPARE = flags.DEFINE_bool("compare", False, "Also draw before, after and difference.")
_ASSUME_HU = flags.DEFINE_bool("assume_hu", False, "Take values for HU whatever RescaleType says.")
_SORT = flags.DEFINE_enum("sort", "position", ["position", "instance"], "If positions are missing.")
_PRIVATE = flags.DEFINE_bool("keep_private", False, "Keep private elements.")
_REPAIR = flags.DEFINE_bool("repair_uids", False, "Make up UIDs where they are missing.")
_CREATED = flags.DEFINE_string("created", None, "Date and time to write, like 2026-01-31T12:00:00.")
launch.require("run", "input", "output")


def main() -> None:
    """Denoise, and say what was done."""
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


if __name__ == "__main__":
    launch.run(main)
