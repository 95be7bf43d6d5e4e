"""The driver behind denoise.py: scans in, denoised scans of the same kind out.

OUTPUT/NAME/00001.dcm ...  a denoised series, slices in the order of their position
OUTPUT/FILE.nii.gz         a denoised NIfTI volume with the name of its source
OUTPUT/NAME.json           what was done and measured; with `compare` also NAME.png and NAME.html
OUTPUT/summary.json        every series of the input with its outcome

The folder of a series appears complete or not at all; an existing one is never changed.
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpca_jax.data.dicom import series_checks
from cpca_jax.data.dicom.search import Found, find_series
from cpca_jax.data.dicom.series import Series
from cpca_jax.data.listing import list_files
from cpca_jax.data.scan import SPECIAL
from cpca_jax.denoising import jobs, nifti_file, outputs
from cpca_jax.denoising.denoiser import Denoiser
from cpca_jax.denoising.jobs import DenoisingOptions, files_digest
from cpca_jax.denoising.outputs import Record
from cpca_jax.errors import ConfigError, DicomError, InputError
from cpca_jax.registry import near
from cpca_jax.runtime import files, logs, partials

Job = Callable[[], Record]
__all__ = ["DenoisingOptions", "denoise_folder", "name_series", "parse_shard"]


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
    files.require_apart(output, [source])
    partials.remove_leftovers(output, recursive=True)
    listed = list_files(source)
    volumes = nifti_file.find_volumes(source, listed)
    found = None
    todo: dict[str, Job] = {}
    if volumes:
        for name, path in volumes.items():
            todo[name] = functools.partial(
                jobs.denoise_volume_file, model, name, path, output, choices
            )
    else:
        found = find_series(source, track=logs.track, allowances=choices.allowances, listed=listed)
        series_checks.report(found, logs.say)
        for name, one in name_series(found.series).items():
            whole = functools.partial(series_checks.require_whole, one, found.series)
            todo[name] = functools.partial(
                jobs.denoise_series, model, name, one, output, choices, whole
            )
    outcomes = _run(_chosen(todo, choices))
    refused = found.refused if found else ()
    summary = {"model": model.name, "digest": model.digest, "step": model.step}
    summary["series"] = outcomes
    summary |= {"refused_files": [*refused], "left_out": _left_out(found)}
    i, n = choices.shard
    outputs.write_json(output / ("summary.json" if n == 1 else f"summary-{i}-of-{n}.json"), summary)
    _require_all_done(outcomes, refused)
    return summary


def _left_out(found: Found | None) -> Record:
    """Return what was neither denoised nor refused, with counts."""
    if found is None:
        return {}
    counts = {"not DICOM": found.foreign, "localizers": found.localizers, SPECIAL: found.special}
    return counts | {"projections": found.projections, "not CT images": [*found.other]}


def _run(todo: dict[str, Job]) -> dict[str, Record]:
    """Run every job; a refused one does not stop the others."""
    outcomes: dict[str, Record] = {}
    for name, job in todo.items():
        try:
            outcomes[name] = job()
        except InputError as error:
            logs.say(f"refused: {name}: {error}")
            outcomes[name] = {"state": "refused", "reason": str(error)}
    return outcomes


def name_series(found: tuple[Series, ...]) -> dict[str, Series]:
    """Return the series by names that are safe in file names: kernel, thickness and a digest.

    The digest covers the first, the middle and the last file, so the same files give the same
    names on any machine; copies are numbered. "unread" stands for the digest where a file cannot
    be read again. A patient's identifier stands in front only if it is a public one (L096).
    """
    named: dict[str, Series] = {}
    for one in found:
        ends = {0, len(one.headers) // 2, len(one.headers) - 1}
        try:
            digest = files_digest([one.headers[z] for z in sorted(ends)])[:8]
        except DicomError:
            digest = "unread"  # its job meets the same error, and the others go on
        patient = one.first.patient_key
        public = "" if patient.startswith("case-") else patient
        name = f"{one.file_name(patient=public)}-{digest}"
        copies = sum(other == name or other.startswith(f"{name}-") for other in named)
        named[f"{name}-{copies + 1}" if copies else name] = one
    return dict(sorted(named.items()))


def _chosen(jobs: dict[str, Job], choices: DenoisingOptions) -> dict[str, Job]:
    unknown = sorted(set(choices.series) - set(jobs))
    if unknown:
        raise ConfigError(
            f"--series: {unknown[0]} is none of {', '.join(jobs)}{near(unknown[0], jobs)}"
        )
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
