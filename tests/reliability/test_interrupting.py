"""A kill at any moment loses nothing: the same command completes the work, and nothing else stays.

A moment is a number of operations on files, drawn from a generator whose key is the job's name.
"""

import concurrent.futures
import contextlib
import itertools
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import jobs
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
SCRIPT = Path(__file__).with_name("interrupting.py")
SERVERS, KILLS, TIMED_KILLS, FULL_DISKS = 2, 16, 4, 12
SIGKILLED = -9
# What may stay: the lock of a finished store, which holds nobody off, and a hidden folder that was
# still empty: without a lock in it, nothing tells its writer dead from one that has just begun.
HARMLESS = re.compile(r"\.store\.lock|(.*/)?\.[^/]*\.[0-9a-f]{8}\.partial")


class Jobs:
    """Runs jobs in processes of their own, each in a new folder below one."""

    def __init__(self, processes, folder):
        self._folder, self._numbers, self._wholes = folder, itertools.count(), {}
        self._free = queue.SimpleQueue()
        for process in processes:
            self._free.put(process)

    def new_folder(self):
        folder = self._folder / f"{next(self._numbers):04d}"
        folder.mkdir()
        return folder

    def run(self, job, folder, *, how="", at=0, seconds=0.0):
        given = self._folder / job
        request = {"job": job, "given": str(given), "folder": str(folder)}
        request |= {"how": how, "at": at, "seconds": seconds}
        process = self._free.get()
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        self._free.put(process)
        return answer

    def whole(self, job):
        """Return the answer and the content of a run that nothing disturbs."""
        if job not in self._wholes:
            (self._folder / job).mkdir()
            jobs.JOBS[job].given(self._folder / job)
            folder = self.new_folder()
            answer = self.run(job, folder)
            assert answer["code"] == 0, answer["err"]
            self._wholes[job] = answer, jobs.content(folder)
        return self._wholes[job]


@contextlib.contextmanager
def served():
    with subprocess.Popen(
        [sys.executable, SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="module")
def runs():
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=fast) as folder, contextlib.ExitStack() as stack:
        servers = [stack.enter_context(served()) for _ in range(SERVERS)]
        yield Jobs(servers, Path(folder))


def moments(job, count, operations):
    """Return ascending numbers of operations, the same in every run."""
    random = np.random.Generator(np.random.Philox(key=[zlib.crc32(job.encode()), 0]))
    chosen = random.choice(np.arange(1, operations + 1), min(count, operations), replace=False)
    return sorted(chosen.tolist())


def differences(folder, whole):
    found = jobs.content(folder)
    names = sorted(found.keys() | whole.keys())
    wrong = [name for name in names if found.get(name) != whole.get(name)]
    return [name for name in wrong if not HARMLESS.fullmatch(name)]


def fault_after(runs, job, **disturbance):
    """Disturb a run, run the same command again, and return what is not as it must be."""
    _, whole = runs.whole(job)
    folder = runs.new_folder()
    disturbed = runs.run(job, folder, **disturbance)
    again = runs.run(job, folder)
    faults = [f"{job} {disturbance}: {name} differs" for name in differences(folder, whole)]
    if again["code"] != 0 and not finished(again):
        faults.append(f"{job} {disturbance}: then ends with {again['code']}: {again['err'][-500:]}")
    if disturbance["how"] == "full":
        faults += faults_of_full_disk(f"{job} {disturbance}", disturbed)
    shutil.rmtree(folder)
    return faults


def finished(again):
    """Tell whether a command was refused because the store or the run is complete already."""
    refusals = ("is not empty", "holds a run already")
    return again["code"] == 2 and any(text in again["err"] for text in refusals)


def faults_of_full_disk(what, ended):
    """Return what is wrong with the end of a command that found no space: none or one fault."""
    lines = ended["err"].splitlines()
    if ended["code"] == 0 or (ended["code"] == 2 and len(lines) == 1):
        return []
    return [
        f"{what}: full disk ends with {ended['code']} in {len(lines)} lines: {ended['err'][-500:]}"
    ]


def faults_of(runs, job, disturbances):
    """Return the faults after each of several disturbances, two at a time."""
    with concurrent.futures.ThreadPoolExecutor(SERVERS) as pool:
        found = pool.map(lambda one: fault_after(runs, job, **one), disturbances)
        return [fault for faults in found for fault in faults]


def kills(runs, job, count):
    operations = runs.whole(job)[0]["operations"]
    return [{"how": "kill", "at": at} for at in moments(job, count, operations)]


def require_none(faults):
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(("job", "count"), [("prepare", 3), ("denoise", 3)])
def test_a_killed_command_goes_on(runs, job, count):
    require_none(faults_of(runs, job, kills(runs, job, count)))


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("job", jobs.JOBS)
def test_commands_killed_at_many_moments_go_on(runs, job):
    disturbances = kills(runs, job, KILLS)
    # What has run before compiles nothing, so its time is that of the work itself.
    seconds = runs.run(job, runs.new_folder())["seconds"]
    for part in range(1, TIMED_KILLS + 1):
        disturbances.append({"how": "kill", "seconds": seconds * part / (TIMED_KILLS + 1)})
    require_none(faults_of(runs, job, disturbances))


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("job", jobs.JOBS)
def test_a_full_disk_costs_a_sentence_and_nothing_else(runs, job):
    operations = runs.whole(job)[0]["operations"]
    chosen = moments(f"{job} on a full disk", FULL_DISKS, operations)
    require_none(faults_of(runs, job, [{"how": "full", "at": at} for at in chosen]))


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("job", jobs.JOBS)
def test_a_file_system_that_is_full_in_the_middle_of_a_file(runs, job, tmp_path):
    """A small file system in memory, also full for libraries in C, grows before the second run."""
    _, whole = runs.whole(job)
    folder = runs.new_folder()
    runs.run(job, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    faults = []
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
        with mounted(tmp_path / f"{share}", max(4096, int(share * size))) as disk:
            what = f"{job} on {share} of its space"
            faults += faults_of_full_disk(what, runs.run(job, disk))
            subprocess.run(["mount", "-o", "remount,size=1G", disk], check=True)
            again = runs.run(job, disk)
            if again["code"] != 0 and not finished(again):
                faults.append(f"{what}: then ends with {again['code']}: {again['err'][-500:]}")
            faults += [f"{what}: {name} differs" for name in differences(disk, whole)]
    require_none(faults)


@contextlib.contextmanager
def mounted(folder, size):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
