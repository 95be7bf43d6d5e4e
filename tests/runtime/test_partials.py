"""Hidden folders of killed writers are removed; those of living ones are not."""

import os
import signal
import subprocess
import sys
import time

from conftest import CHECKOUT

from cpca_jax.runtime import files, partials

WRITER = """
import pathlib, sys, time
from cpca_jax.runtime import files
with files.appearing(pathlib.Path(sys.argv[1])) as folder:
    (folder / "a").touch()
    print("writing", flush=True)
    time.sleep(60)
"""


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".partial")]


def test_what_a_killed_writer_left_goes_with_the_next_one_and_a_living_one_stays(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        (living,) = hidden(tmp_path)
        partials.remove_leftovers(tmp_path)
        files.write_file(tmp_path / "out.json", b"")
        assert hidden(tmp_path) == [living]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert hidden(tmp_path) == [living]
    files.write_file(tmp_path / "another", b"")
    assert hidden(tmp_path) == [living]
    with files.appearing(tmp_path / "out"):
        assert living not in hidden(tmp_path)
    assert not hidden(tmp_path)


def test_leftovers_without_a_lock_go_when_a_day_has_passed(tmp_path):
    left = tmp_path / "below" / ".out.01234567.partial"
    left.mkdir(parents=True)
    partials.remove_leftovers(tmp_path, recursive=True)
    assert left.exists()
    before = time.time() - 25 * 3600
    os.utime(left, (before, before))
    partials.remove_leftovers(tmp_path)
    assert left.exists()
    partials.remove_leftovers(tmp_path, recursive=True)
    assert not left.exists()
    partials.remove_leftovers(tmp_path / "nowhere")


def test_two_writers_of_one_name_do_not_hurt_each_other(tmp_path):
    with files.whole_path(tmp_path / "a") as one, files.whole_path(tmp_path / "a") as two:
        one.write_bytes(b"one")
        two.write_bytes(b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_names_of_250_bytes_can_be_written(tmp_path):
    for name in ("x" * 250, "a." + "x" * 248):
        files.write_file(tmp_path / name, b"")
        assert (tmp_path / name).exists()


def test_a_folder_goes_although_threads_still_write_into_it(tmp_path, monkeypatch):
    """Libraries that were told of an error go on for a moment with what they had begun."""
    rmtree, left = partials.shutil.rmtree, [1, 1]

    def busy(path, **choices):
        if left:
            left.pop()
        else:
            rmtree(path, **choices)

    monkeypatch.setattr(partials.shutil, "rmtree", busy)
    with partials.partial_folder(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir())
