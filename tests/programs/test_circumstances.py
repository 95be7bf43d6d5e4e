"""Circumstances outside the program end in one sentence; a bug keeps its traceback."""

import errno
import os
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from commands import call, refused
from conftest import CHECKOUT
from denoised import IDENTITY, random_stored, write

from cpca_jax.data.dicom import derived
from cpca_jax.data.dicom.attributes import Reported
from cpca_jax.denoising.folder import DenoisingOptions, denoise_folder
from cpca_jax.errors import DicomError, InputError, OutputError
from cpca_jax.programs import launch
from cpca_jax.runs import saving
from cpca_jax.runs.state import Player, TrainState
from cpca_jax.runtime import circumstances, run_log


class XlaRuntimeError(RuntimeError):
    """Stands for JAX's error, which is known by its name."""


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


def ended(monkeypatch, capfd, main):
    monkeypatch.setattr(sys, "argv", ["cpca"])
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "stdout", sys.stdout)  # restored afterwards
        patch.setattr(sys, "stderr", sys.stderr)
        launch.run(launch.Program("A program."), main)
    return end.value.code, capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/out"), "out: Permission denied; "),
        (OSError(errno.EROFS, "Read-only file system", "/a/out"), "out: Read-only file system; "),
        (FileNotFoundError(errno.ENOENT, "No such file", "/a/gone"), "gone: No such file; "),
        (OSError(errno.ESTALE, "Stale file handle"), "Stale file handle; check the disk"),
        (np._core._exceptions._ArrayMemoryError((9, 9), np.dtype("f4")), "memory is exhausted; "),
        (XlaRuntimeError("RESOURCE_EXHAUSTED: allocating 72 bytes"), "(72 bytes more were wanted)"),
    ],
)
def test_a_circumstance_is_one_sentence(monkeypatch, capfd, error, said):
    code, text = ended(monkeypatch, capfd, raising(error))
    assert code == 2
    assert said in text
    assert text.startswith("error: ")
    assert text.count("\n") == 1


def test_the_part_of_a_path_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for path, said in [
        ("file", "file is a file, must be a folder; choose another folder"),
        ("file/a/b", "file is a file, must be a folder; choose another folder"),
        ("nowhere/a", "nowhere is a link that leads nowhere; choose another folder"),
    ]:
        with pytest.raises(OSError, match=r"exists|directory") as refusal:
            (tmp_path / path).mkdir(parents=True, exist_ok=True)
        assert circumstances.reason(refusal.value) == said


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        RuntimeError("x"),
        XlaRuntimeError("INTERNAL: x"),
        FileNotFoundError(errno.ENOENT, "No such file", str(CHECKOUT / "cpca_jax" / "x")),
    ],
)
def test_a_bug_keeps_its_traceback(error):
    assert circumstances.sentence(error) is None


def state():
    return TrainState(np.int32(7), Player({"w": np.zeros(500_000, np.float32)}, {}, {}), None)


@pytest.mark.parametrize("text", ["No space left on device", "Permission denied"])
def test_errors_of_the_disk_that_orbax_wraps_are_told(monkeypatch, tmp_path, text):
    wrapped = ValueError(f"INTERNAL: Error writing 'd/0' in kvstore: {text} [OS error]")
    monkeypatch.setattr(saving, "_write", raising(wrapped))
    with pytest.raises(OutputError, match=f"^checkpoint 7: cannot be written: {text}; "):
        saving.save(tmp_path, state(), "{}", about={}, keep=1)
    assert not list((tmp_path / "checkpoints").iterdir())
    monkeypatch.setattr(saving, "_write", raising(ValueError("a bug")))
    with pytest.raises(ValueError, match="a bug"):
        saving.save(tmp_path, state(), "{}", about={}, keep=1)


def test_the_free_space_is_looked_at_before_a_checkpoint(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 1_500_000))
    with pytest.raises(OutputError, match=r"^checkpoint 7: .* 1\.5 MB are free .* 3\.2 MB are"):
        saving.save(tmp_path, state(), "{}", about={}, keep=1)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_full_disk_under_a_denoised_slice_is_not_an_unreadable_file(monkeypatch, tmp_path):
    source = write(tmp_path / "in", random_stored(900, 1100))
    monkeypatch.setattr(derived, "_save", raising(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(InputError, match=r"0000\d\.dcm: cannot be written: No space left; free"):
        denoise_folder(IDENTITY, source, tmp_path / "out", DenoisingOptions())
    monkeypatch.undo()
    denoise_folder(IDENTITY, source, tmp_path / "out", DenoisingOptions())  # the second run goes on
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_the_reason_is_that_of_the_system_where_a_library_raises_its_own_text():
    own = OSError("With tag (7fe0, 0010) got exception")
    own.__cause__ = OSError(errno.ENOSPC, "No space left")
    assert circumstances.reason(own).startswith("No space left; free some space there")
    assert circumstances.sentence(own) == circumstances.reason(own)


def test_a_reader_that_finds_no_memory_does_not_call_the_file_damaged():
    assert circumstances.cause(MemoryError()).startswith("memory is exhausted; close other")
    assert circumstances.cause(ValueError("x"), damaged="is damaged") == "is damaged"
    with (
        pytest.raises(DicomError, match=r"^a\.dcm: cannot be read: memory is exhausted; "),
        Reported("a.dcm", "PixelData"),
    ):
        raise MemoryError


def test_an_array_that_was_written_in_part_met_a_full_disk():
    """NumPy raises an error without a number there."""
    short = OSError("110720 requested and 8192 written")
    assert circumstances.reason(short).startswith("No space left on device; free some space")


def test_answers_that_come_after_a_failed_save_print_nothing(monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: shown.append(str(what.exc_value)))
    saving._overlook_late_answers.__wrapped__()
    for text in ("Event loop is closed", "a bug"):
        sys.unraisablehook(types.SimpleNamespace(exc_value=RuntimeError(text)))
    assert shown == ["a bug"]


def test_event_files_that_cannot_be_written_stop_a_training_and_do_not_hang_it(
    monkeypatch, tmp_path
):
    log = run_log.RunLog(tmp_path, 0)
    writer = log._events.file_writer.event_writer._ev_writer._py_recordio_writer
    monkeypatch.setattr(writer, "write", raising(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(OutputError, match=r"^events: cannot be written: No space left"):
        for step in range(1000):
            log.write("train", step, {"loss": 1.0})
    log.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_help_that_cannot_be_printed_is_refused_and_a_reader_that_left_is_not():
    with open("/dev/full", "w") as full:
        done = call("train.py", "--help", stdout=full)
    refused(done, "standard output: cannot be written: No space left on device")
    for stream in (">&-", "| head -1 >/dev/null"):
        line = f"set -o pipefail; {sys.executable} train.py --help {stream}"
        done = subprocess.run(
            ["bash", "-c", line], cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_result_that_cannot_be_printed_is_an_error_and_its_files_are_complete(tmp_path):
    """A table that goes nowhere must not look like success to a script."""
    small = ("--phantom=3", "--slices=3", "--size=32")
    with open("/dev/full", "w") as full:
        done = call("prepare.py", *small, f"--output={tmp_path / 'store'}", stdout=full)
    refused(done, "No space left on device; free some space there, then run the same command again")
    assert done.stderr.endswith("; all files are complete\n")
    assert (tmp_path / "store" / "manifest.json").exists()


@pytest.mark.slow
def test_a_full_disk_ends_denoising_in_one_line_and_the_second_run_goes_on(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if not mounted or mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        source = write(tmp_path / "in", random_stored(900, 1100, size=256))
        arguments = [
            "denoise.py",
            "--run=identity",
            f"--input={source}",
            f"--output={disk / 'out'}",
        ]
        for filled in (2_000_000, 1_900_000):
            (disk / "fill").write_bytes(bytes(filled))
            refused(call(*arguments), ".dcm: cannot be written: No space left on device; free some")
            (disk / "fill").unlink()
        assert call(*arguments).returncode == 0
        assert not list(disk.rglob("*.partial"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
