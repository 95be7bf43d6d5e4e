"""What becomes of one series or one NIfTI file: it is denoised, or completed if it is there."""

import dataclasses
import datetime
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from cpca_jax.data.collections import nifti
from cpca_jax.data.dicom import series_checks, slice_file
from cpca_jax.data.dicom.attributes import Reported
from cpca_jax.data.dicom.header import STRICT, Allowances, Header
from cpca_jax.data.dicom.series import Series, read_again
from cpca_jax.denoising import nifti_file, outputs
from cpca_jax.denoising.denoiser import Denoiser
from cpca_jax.denoising.dicom_series import SeriesPass, derived_series, shown_places
from cpca_jax.denoising.outputs import Record
from cpca_jax.denoising.slab import fitting_slab
from cpca_jax.errors import OutputError, TakenError, VolumeError
from cpca_jax.runtime import files, logs
from cpca_jax.runtime.circumstances import disk_errors
from cpca_jax.runtime.files import file_digest

# The file name of the record that lies beside the slices of a series.
_RECORD = ".record.json"


@dataclasses.dataclass(frozen=True)
class DenoisingOptions:
    """The choices that the flags of denoise.py make.

    Attributes:
        series: The names of the series to denoise; empty for all.
        shard: (i, n) for every n-th series from the i-th on, counted from 1.
        slab: The number of slices at once; 0 for as many as the device's memory holds.
        compare: True to also draw before and after.
        allowances: The defects of the files that are allowed.
        keep_private: True to keep private elements.
        repair_uids: True to make up missing UIDs.
        created: The date and time of creation to write; None for now.
    """

    series: tuple[str, ...] = ()
    shard: tuple[int, int] = (1, 1)
    slab: int = 0
    compare: bool = False
    allowances: Allowances = STRICT
    keep_private: bool = False
    repair_uids: bool = False
    created: datetime.datetime | None = None


def files_digest(headers: Sequence[Header]) -> str:
    """Return the digest of the whole content of these files, in the order of the slices."""
    digest = hashlib.sha256()
    for header in headers:
        with Reported(header.path.name, "the file"):
            digest.update(file_digest(header.path).encode())
    return digest.hexdigest()


def denoise_series(
    model: Denoiser,
    name: str,
    one: Series,
    output: Path,
    choices: DenoisingOptions,
    require_whole: Callable[[], None],
) -> Record:
    """Denoise one series; return its record for the summary."""
    root = output / name
    outputs.require_no_links(output, root)
    digest = files_digest(one.headers)
    record = outputs.new_record(model, digest) | {"slices": len(one.headers)}
    if root.exists() and any(root.iterdir()):
        return _series_before(model, name, one, output, record, choices)
    require_whole()
    warnings = series_checks.check(one, model.slices, repair_uids=choices.repair_uids)
    for warning in warnings:
        logs.say(f"warning: {name}: {warning}")
    shared = derived_series(
        model,
        one,
        digest=digest,
        created=choices.created or datetime.datetime.now(),
        keep_private=choices.keep_private,
    )
    work = SeriesPass(model, one, shared)
    slab = choices.slab or fitting_slab(model, one.first.shape)
    try:
        with files.appearing(root) as folder:
            work.run(folder, name, batch=slab)
            record |= {"state": "denoised", "warnings": warnings, **work.measured()}
            record["said"] = work.sentence()
            # Inside the folder, so that the record appears together with its files.
            outputs.write_json(folder / _RECORD, record)
    except TakenError:
        return _series_before(model, name, one, output, record, choices)
    if choices.compare:
        outputs.write_page(output, name, model, record, work.shown)
    outputs.write_json(outputs.beside(output, name, ".json"), record)
    logs.say(f"{name}: {work.sentence()}")
    return record


def _series_before(
    model: Denoiser,
    name: str,
    one: Series,
    output: Path,
    record: Record,
    choices: DenoisingOptions,
) -> Record:
    """Complete what is missing beside a series that is there already; return its record."""
    root = output / name
    before = outputs.require_same(outputs.read_json(root / _RECORD), record, name)
    written = sorted(root.glob("*.dcm"))
    if len(written) != len(one.headers):
        raise OutputError(
            f"{name}: has {len(written)} slices, must have {len(one.headers)}; remove it or give "
            "another --output"
        )
    if choices.compare and not outputs.has_page(output, name):
        places = sorted(shown_places(len(written)))
        shown = [
            (z, read_again(one.headers[z]).hu, slice_file.read_slice(written[z]).hu) for z in places
        ]
        outputs.write_page(output, name, model, before, shown)
    return outputs.there_already(outputs.beside(output, name, ".json"), name, before)


def denoise_volume_file(
    model: Denoiser, name: str, path: Path, output: Path, choices: DenoisingOptions
) -> Record:
    """Denoise one NIfTI file; return its record for the summary."""
    written = output / name
    outputs.require_no_links(output, written)
    with disk_errors(path.name, error=VolumeError, verb="read"):
        digest = file_digest(path)
    record = outputs.new_record(model, digest)
    made = outputs.made(record)
    if written.exists():
        return _volume_before(model, name, path, output, record, choices)
    try:
        measured, shown = nifti_file.denoise_file(
            model, path, written, slab=choices.slab, made=made
        )
    except VolumeError:
        if not written.exists():
            raise
        # Another process was faster.
        return _volume_before(model, name, path, output, record, choices)
    sentence = f"{measured['slices_per_second']:.2f} slices/s"
    record |= {"state": "denoised", "said": sentence, **measured}
    if choices.compare:
        outputs.write_page(output, name, model, record, shown)
    outputs.write_json(outputs.beside(output, name, ".json"), record)
    logs.say(f"{name}: {sentence}")
    return record


def _volume_before(
    model: Denoiser,
    name: str,
    path: Path,
    output: Path,
    record: Record,
    choices: DenoisingOptions,
) -> Record:
    """Complete what is missing beside a volume that is there already; return its record."""
    written, beside = output / name, outputs.beside(output, name, ".json")
    before, shown = outputs.read_json(beside), None
    if "effect" not in before:
        if nifti.made_how(written) != outputs.made(record):
            raise outputs.not_ours(name)
        measured, shown = nifti_file.measure_file(path, written)
        before = record | {"state": "denoised", "said": "measured afterwards", **measured}
    outputs.require_same(before, record, name)
    if choices.compare and not outputs.has_page(output, name):
        shown = shown or nifti_file.measure_file(path, written)[1]
        outputs.write_page(output, name, model, before, shown)
    return outputs.there_already(beside, name, before)
