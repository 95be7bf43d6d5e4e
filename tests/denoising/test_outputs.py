"""Outputs, records and pages belong together: what a killed run left out, the next one adds."""

import json
import os

import fake_dicom
import nibabel
import numpy as np
import pytest
from denoised import CREATED, IDENTITY, STUDY, network

from cpca_jax.denoising import jobs, nifti_file
from cpca_jax.denoising.denoiser import denoise_volume
from cpca_jax.denoising.folder import DenoisingOptions, denoise_folder
from cpca_jax.errors import InputError

CHOICES = DenoisingOptions(created=CREATED, compare=True)
OPERATIONS = ("open", "mkdir", "link", "replace", "rename", "fsync", "unlink")


class Killed(BaseException):
    """The end of a process, after which it touches no file any more."""


def volume(path, dtype=np.int16):
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.random.default_rng(0).integers(-1000, 1000, (32, 33, 5)).astype(dtype)
    nibabel.save(nibabel.Nifti1Image(stored, np.diag([-0.7, 0.7, 2.0, 1.0])), path)
    return stored


def source(folder, kind):
    if kind == "nifti":
        volume(folder / "scan.nii.gz")
    else:
        fake_dicom.write_series(folder, fake_dicom.body(2, noise_hu=9, size=32), **STUDY)
    return folder


def images(output):
    """Return the bytes of every image below a folder, by its path; hidden ones are left out."""
    found = [path for path in output.rglob("*") if path.name.endswith((".dcm", ".nii.gz"))]
    named = {path.relative_to(output): path for path in found if path.is_file()}
    return {
        place: path.read_bytes()
        for place, path in named.items()
        if not any(part[0] == "." for part in place.parts)
    }


def visible(output):
    return sorted(path.name for path in output.iterdir() if path.name[0] != ".")


def run_until(monkeypatch, last, act):
    """Run `act`, which ends before file operation number `last`; tell whether it was killed."""
    done = 0

    def guarded(operation):
        def call(*args, **options):
            nonlocal done
            done += 1
            if done > last:
                raise Killed
            return operation(*args, **options)

        return call

    with monkeypatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, guarded(getattr(os, name)))
        try:
            act()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_a_second_run_completes_a_killed_one(tmp_path, monkeypatch, kind):
    folder = source(tmp_path / "in", kind)
    monkeypatch.setattr(jobs.outputs.before_after, "montage", lambda shown: b"png")
    denoise_folder(IDENTITY, folder, tmp_path / "whole", CHOICES)
    last, killed = 0, True
    while killed:
        output = tmp_path / f"out{last}"

        def act(output=output):
            denoise_folder(IDENTITY, folder, output, CHOICES)

        killed = run_until(monkeypatch, last, act)
        act()
        assert images(output) == images(tmp_path / "whole")
        assert visible(output) == visible(tmp_path / "whole")
        last += 1
    assert last > 10


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_a_page_and_a_record_are_added_afterwards(tmp_path, kind):
    folder, output = source(tmp_path / "in", kind), tmp_path / "out"
    denoise_folder(network(1), folder, output, DenoisingOptions())
    (record,) = [path for path in output.glob("*.json") if path.name != "summary.json"]
    record.unlink()
    summary = denoise_folder(network(1), folder, output, CHOICES)
    ((name, outcome),) = summary["series"].items()
    assert outcome["state"] == "there already"
    written = json.loads(record.read_text())
    assert (written["run"], written["step"], written["state"]) == ("net", 0, "denoised")
    assert "Denoised by net, step 0 (" in (output / f"{name}.html").read_text()
    assert (output / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    record.unlink()
    if kind == "nifti":  # without a record, the volume itself says that another model made it
        with pytest.raises(InputError, match="from another model or input"):
            denoise_folder(IDENTITY, folder, output, CHOICES)


def test_a_series_that_has_lost_a_slice_is_refused(tmp_path):
    folder, output = source(tmp_path / "in", "dicom"), tmp_path / "out"
    denoise_folder(IDENTITY, folder, output, DenoisingOptions())
    next(output.glob("*/*.dcm")).unlink()
    with pytest.raises(InputError, match="has 1 slices, must have 2"):
        denoise_folder(IDENTITY, folder, output, DenoisingOptions())


@pytest.mark.parametrize("what", ["sub", "sub/scan.nii.gz"])
def test_no_link_leads_out_of_the_output(tmp_path, what):
    volume(tmp_path / "in" / "sub" / "scan.nii.gz")
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "out" / what
    elsewhere.mkdir()
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere / "absent" if "/" in what else elsewhere)
    with pytest.raises(InputError, match=r"is a link in the output folder"):
        denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", CHOICES)
    assert not any(elsewhere.iterdir())


@pytest.mark.parametrize("slices", [1, 3])
def test_voxels_that_are_not_finite_stay_and_spread_nowhere(tmp_path, slices):
    path = tmp_path / "in" / "scan.nii.gz"
    stored = volume(path, np.float32)
    stored[:4], stored[9, 9], stored[..., 4] = np.nan, np.inf, np.nan
    nibabel.save(nibabel.Nifti1Image(stored, np.diag([-0.7, 0.7, 2.0, 1.0])), path)
    summary = denoise_folder(network(slices), path.parent, tmp_path / "out", CHOICES)
    got = nibabel.load(tmp_path / "out" / path.name).get_fdata()
    gaps = ~np.isfinite(stored)
    np.testing.assert_array_equal(got[gaps], stored[gaps])
    air = np.where(gaps, np.float32(-3024), stored)
    seen = np.ascontiguousarray(np.transpose(air, (2, 1, 0))[:, ::-1])
    want = np.transpose(denoise_volume(network(slices), seen)[:, ::-1], (2, 1, 0))
    np.testing.assert_allclose(got[~gaps], want[~gaps], atol=1e-3)
    assert "NaN" not in json.dumps(summary)
    assert "nan" not in (tmp_path / "out" / f"{path.name}.html").read_text().split("<figure")[0]


@pytest.mark.parametrize(
    "name",
    [
        "n" * 248 + ".nii",
        "é" * 120 + ".nii.gz",
        os.fsdecode(b"caf\xe9.nii"),
        "a 'b' & \"c\" <d>.nii",
    ],
)
def test_odd_names_of_files(tmp_path, name):
    path = tmp_path / "in" / "scan.nii"
    volume(path)
    if name.endswith(".gz"):
        path = path.rename(path.with_name("plain.nii"))
        nibabel.save(nibabel.load(path), path.with_name("scan.nii.gz"))
        path.unlink()
        path = path.with_name("scan.nii.gz")
    try:
        path = path.rename(path.with_name(name))
    except OSError:
        pytest.skip("this file system does not take such a name")
    for state in ("denoised", "there already"):
        summary = denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", CHOICES)
        assert [one["state"] for one in summary["series"].values()] == [state]
    assert (tmp_path / "out" / name).is_file()
    assert len(visible(tmp_path / "out")) == 5


def test_a_series_that_vanishes_leaves_the_others_going(tmp_path, monkeypatch):
    body = fake_dicom.body(2, noise_hu=9, size=32)
    for number in "12":
        fake_dicom.write_series(
            tmp_path / "in" / number, body, SeriesInstanceUID=f"1.{number}", **STUDY
        )
    report = jobs.series_checks.report

    def vanish(*args):
        report(*args)
        next((tmp_path / "in" / "1").iterdir()).unlink()

    monkeypatch.setattr(jobs.series_checks, "report", vanish)
    with pytest.raises(InputError, match=r"1 of 2 series refused; .*cannot be read"):
        denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", DenoisingOptions())
    assert len(images(tmp_path / "out")) == 2


def test_a_volume_that_vanishes_leaves_the_others_going(tmp_path, monkeypatch):
    for name in "ab":
        volume(tmp_path / "in" / f"{name}.nii.gz")
    find = nifti_file.find_volumes

    def vanish(*args):
        found = find(*args)
        (tmp_path / "in" / "a.nii.gz").unlink()
        return found

    monkeypatch.setattr(nifti_file, "find_volumes", vanish)
    with pytest.raises(InputError, match=r"1 of 2 series refused; a.nii.gz: .*cannot be read"):
        denoise_folder(IDENTITY, tmp_path / "in", tmp_path / "out", DenoisingOptions())
    assert len(images(tmp_path / "out")) == 1
