"""The driver behind denoise.py: scans in, denoised scans of the same kind out.

OUTPUT/NAME/00001.dcm ...  a denoised series, slices in the order of their position
OUTPUT/FILE.nii.gz         a denoised NIfTI volume with the name of its source
OUTPUT/NAME.json           what was done and measured; with `compare` also NAME.png and NAME.html
OUTPUT/summary.json        every series of the input with its outcome

The folder of a series appears complete or not at all; an existing one is never changed.
"""

import dataclasses
import datetime
import functools
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cpca_jax.data.dicom import series_checks
from cpca_jax.data.dicom.attributes import Reported
from cpca_jax.data.dicom.header import STRICT, Allowances, Header
from cpca_jax.data.dicom.search import Found, find_series
from cpca_jax.data.dicom.series import Series
from cpca_jax.data.listing import list_files
from cpca_jax.denoising import before_after, nifti_file
from cpca_jax.denoising.before_after import Effect
from cpca_jax.denoising.denoiser import Denoiser
from cpca_jax.denoising.dicom_series import SeriesPass, Shown, derived_series
from cpca_jax.denoising.slab import fitting_slab
from cpca_jax.errors import ConfigError, InputError, OutputError, TakenError
from cpca_jax.runtime import files, logs
from cpca_jax.runtime.files import file_digest

# The file name of the record that lies beside the slices of a series.
_RECORD = ".record.json"
# The outcome of a series, as summary.json states it.
Record = dict[str, Any]
Job = Callable[[], Record]


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


def parse_shard(text: str) -> tuple[int, int]:
    """Return the numbers i and n, 1 <= i <= n, of the text "i/n".

    Raises:
        ConfigError: The text has another form.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    shard = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= shard[0] <= shard[1]:
        raise ConfigError(f"--shard is {text}, must be like 1/4: the first of four parts")
    return shard


def denoise_folder(
    model: Denoiser, source: Path, output: Path, choices: DenoisingOptions
) -> dict[str, Any]:
    """Denoise the CT series, or the NIfTI volumes, below a folder.

    Args:
        model: The denoiser.
        source: A folder with DICOM or with NIfTI files, or one NIfTI file.
        output: The folder to write to, outside `source`; it may hold series denoised before.
        choices: All other choices.

    Returns:
        The summary, as written to summary.json.

    Raises:
        InputError: Nothing is usable, a series is unknown, or, raised after all others are done,
            a series or a file was refused.
    """
    if not source.exists():
        raise InputError(f"{source.name} does not exist; --input must be a folder or a NIfTI file")
    if source.is_dir():
        files.require_apart(output, [source])
    listed = list_files(source)
    volumes = nifti_file.find_volumes(source, listed)
    found = None
    jobs: dict[str, Job] = {}
    if volumes:
        for name, path in volumes.items():
            jobs[name] = functools.partial(_denoise_volume, model, name, path, output, choices)
    else:
        found = find_series(source, track=logs.track, allowances=choices.allowances, listed=listed)
        series_checks.report(found, logs.say)
        for name, one in name_series(found.series).items():
            whole = functools.partial(series_checks.require_whole, one, found.series)
            jobs[name] = functools.partial(_denoise_one, model, name, one, output, choices, whole)
    outcomes = _run(_chosen(jobs, choices))
    refused = found.refused if found else ()
    summary = {"model": model.name, "digest": model.digest, "series": outcomes}
    summary |= {"refused_files": [*refused], "left_out": _left_out(found)}
    i, n = choices.shard
    _write_json(output / ("summary.json" if n == 1 else f"summary-{i}-of-{n}.json"), summary)
    _require_all_done(outcomes, refused)
    return summary


def _left_out(found: Found | None) -> Record:
    """Return what was neither denoised nor refused, with counts."""
    if found is None:
        return {}
    counts = {"not DICOM": found.foreign, "localizers": found.localizers}
    return counts | {"projections": found.projections, "not CT images": [*found.other]}


def _run(jobs: dict[str, Job]) -> dict[str, Record]:
    """Run every job; a refused one does not stop the others."""
    outcomes: dict[str, Record] = {}
    for name, job in jobs.items():
        try:
            outcomes[name] = job()
        except InputError as error:
            logs.say(f"refused: {name}: {error}")
            outcomes[name] = {"state": "refused", "reason": str(error)}
    return outcomes


def name_series(found: tuple[Series, ...]) -> dict[str, Series]:
    """Return the series by names that are safe in file names: kernel, thickness and a digest.

    The digest covers the first, the middle and the last file, so the same files give the same
    names on any machine; copies are numbered. A patient's identifier stands in front only if it is
    a public one (L096).

    Raises:
        DicomError: A file cannot be read again.
    """
    named: dict[str, Series] = {}
    for one in found:
        ends = {0, len(one.headers) // 2, len(one.headers) - 1}
        digest = _files_digest([one.headers[z] for z in sorted(ends)])[:8]
        patient = one.first.patient_key
        public = "" if patient.startswith("case-") else patient
        name = f"{one.file_name(patient=public)}-{digest}"
        copies = sum(other == name or other.startswith(f"{name}-") for other in named)
        named[f"{name}-{copies + 1}" if copies else name] = one
    return dict(sorted(named.items()))


def _chosen(jobs: dict[str, Job], choices: DenoisingOptions) -> dict[str, Job]:
    unknown = sorted(set(choices.series) - set(jobs))
    if unknown:
        raise ConfigError(f"--series: {unknown[0]} is none of {', '.join(jobs)}")
    kept = [name for name in jobs if not choices.series or name in choices.series]
    i, n = choices.shard
    return {name: jobs[name] for name in kept[i - 1 :: n]}


def _require_all_done(outcomes: dict[str, Record], refused: tuple[str, ...]) -> None:
    bad = [name for name, outcome in outcomes.items() if outcome["state"] == "refused"]
    if bad:
        reason = outcomes[bad[0]]["reason"]
        raise InputError(f"{len(bad)} of {len(outcomes)} series refused; {bad[0]}: {reason}")
    if refused:
        raise InputError(f"{len(refused)} refused, see summary.json; {refused[0]}")


def _denoise_one(
    model: Denoiser,
    name: str,
    one: Series,
    output: Path,
    choices: DenoisingOptions,
    require_whole: Callable[[], None],
) -> Record:
    """Denoise one series; return its record for the summary."""
    root = output / name
    digest = _files_digest(one.headers)
    record: Record = {"model": model.digest, "source": digest, "slices": len(one.headers)}
    if root.exists() and any(root.iterdir()):
        return _done_before(root / _RECORD, name, record)
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
            # Inside the folder, so that the record appears together with its files.
            _write_json(folder / _RECORD, record)
    except TakenError:
        return _done_before(root / _RECORD, name, record)
    _write_json(output / f"{name}.json", record)
    if choices.compare:
        _write_page(output, name, model, work.sentence(), work.meter.effect(), work.shown)
    logs.say(f"{name}: {work.sentence()}")
    return record


def _denoise_volume(
    model: Denoiser, name: str, path: Path, output: Path, choices: DenoisingOptions
) -> Record:
    """Denoise one NIfTI file; return its record for the summary."""
    record: Record = {"model": model.digest, "source": file_digest(path)}
    written = output / name
    if written.exists():
        return _done_before(output / f"{name}.json", name, record)
    measured, shown = nifti_file.denoise_file(model, path, written, slab=choices.slab)
    record |= {"state": "denoised", **measured}
    _write_json(output / f"{name}.json", record)
    sentence = f"{measured['slices_per_second']:.2f} slices/s"
    if choices.compare:
        _write_page(output, name, model, sentence, Effect(**measured["effect"]), shown)
    logs.say(f"{name}: {sentence}")
    return record


def _files_digest(headers: Sequence[Header]) -> str:
    """Return the digest of the whole content of these files, in the order of the slices."""
    digest = hashlib.sha256()
    for header in headers:
        with Reported(header.path.name, "the file"):
            digest.update(file_digest(header.path).encode())
    return digest.hexdigest()


def _done_before(written: Path, name: str, record: Record) -> Record:
    """Return the record of an existing output, if the same model made it from the same files."""
    try:
        before = json.loads(written.read_text())
        same = all(before.get(key) == record[key] for key in ("model", "source"))
    except (OSError, ValueError, AttributeError):
        same = False
    if not same:
        raise OutputError(
            f"{name} exists already, from another model or input, and nothing is overwritten; "
            "give another --output"
        )
    logs.say(f"{name}: denoised before, left unchanged")
    return {**before, "state": "there already"}


def _write_page(
    output: Path,
    name: str,
    model: Denoiser,
    sentence: str,
    effect: Effect,
    shown: Sequence[Shown],
) -> None:
    png = before_after.montage(shown)
    lead = f"Denoised by {model.name} ({model.digest}): {sentence}."
    files.write_file(output / f"{name}.png", png)
    files.write_file(output / f"{name}.html", before_after.page(name, lead, effect, png).encode())


def _write_json(path: Path, record: Record) -> None:
    files.write_file(path, (json.dumps(record, indent=1) + "\n").encode())
