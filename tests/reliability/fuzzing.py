"""The process that reads damaged files, and the judgement of each outcome.

    python tests/reliability/fuzzing.py KIND NUMBER FOLDER

makes mutant NUMBER of a kind in a new folder, reads it as the commands do, and prints the outcome.
A mutant is a function of its kind and its number alone, but for the names that Orbax makes up.
"""

import contextlib
import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

import numpy as np  # noqa: E402

SECONDS, MEGABYTES = 1.0, 500
# A mutant that waits uses no processor time; the machine may be busy with other work.
WAITING_SECONDS = 5
# Python cannot interrupt a library in C; the process then ends, and so names the mutant.
HANGING_SECONDS = 120
# Some sentences list what there is.
LONGEST_LINE = 1000


class TooLongError(BaseException):
    """A reader waits; not an Exception, so that no reader takes it for a fault of the file."""


class Fuzzer:
    """Makes and reads mutants of one kind.

    Attributes:
        name: the kind.
        original: the folder of the original.
    """

    def __init__(self, name: str, folder: Path) -> None:
        import kinds

        self.kind, self.name, self.folder = kinds.KINDS[name], name, folder
        self.original = folder / "original"
        self.original.mkdir(parents=True)
        self.kind.make(self.original)
        # Reading the original first also loads libraries and compiles, which no mutant pays for.
        shutil.copytree(self.original, folder / "first", symlinks=True)
        self.content = self.kind.read(folder / "first")
        shutil.rmtree(folder / "first")

    def make(self, number: int) -> Path:
        """Write a mutant and return its folder."""
        mutant = self.folder / f"{number}"
        shutil.copytree(self.original, mutant, symlinks=True)
        paths = sorted(p for p in mutant.glob(self.kind.files) if p.is_file())
        key = [zlib.crc32(self.name.encode()), number]
        random = np.random.Generator(np.random.Philox(key=key))
        chosen = paths[int(random.integers(len(paths)))]
        self.kind.damage(
            mutant, chosen, random, [p for p in self.original.rglob("*") if p.is_file()]
        )
        return mutant

    def judge(self, number: int) -> dict[str, object]:
        """Make and read a mutant; return its outcome, with "fault" where it is not as promised."""
        faulthandler.dump_traceback_later(HANGING_SECONDS, exit=True)
        mutant = self.make(number)
        faults: list[str] = []
        outcome = _measured(lambda: self.kind.read(mutant), faults)
        outcome |= {"kind": self.name, "number": number}
        content = outcome.pop("content")
        if content is not None and self.kind.protected:
            strange = [n for n in content if content[n] not in self.content.values()]
            faults += [f"what came out is not the original: {strange[:3]}"] if strange else []
        shutil.rmtree(mutant, ignore_errors=True)
        faulthandler.cancel_dump_traceback_later()
        return outcome | {"fault": "; ".join(faults)}


def _measured(read, faults):
    """Call a reader as a program does, under limits, and return what it came to."""
    from cpca_jax.programs import launch

    result: dict[str, object] = {"state": 1, "content": None}
    resident = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    start = time.process_time()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, _sent_to(out, err):
        signal.setitimer(signal.ITIMER_REAL, WAITING_SECONDS)
        try:
            launch.run(launch.Program(""), lambda: result.update(content=read()))
        except SystemExit as ended:
            result["state"] = ended.code
            faults += ["ran out of memory"] if _is_of_memory(ended) else []
        except (Exception, TooLongError) as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [f for f in frames if "/cpca_jax/" in f.filename] or frames
            place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
            faults.append(f"{type(error).__name__}: {str(error)[:200]!r} at {place}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        said, complained = _text(sys.stdout, out), _text(sys.stderr, err)
    seconds = time.process_time() - start
    megabytes = (_memory("VmHWM") - resident) / 1024
    faults += [f"took {seconds:.1f} s"] if seconds > SECONDS else []
    faults += [f"took {megabytes:.0f} MB"] if megabytes > MEGABYTES else []
    faults += _faults_of_text(said, complained, sentences=int(result["state"] == 2))
    result["said"] = complained.strip()
    return result | {"seconds": round(seconds, 3), "megabytes": round(megabytes, 1)}


@contextlib.contextmanager
def _sent_to(out, err):
    """Send everything that Python and libraries in C print to two files."""
    kept = os.dup(1), os.dup(2)
    try:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        with warnings.catch_warnings():
            yield
    finally:
        for number, handle in enumerate(kept, 1):
            os.dup2(handle, number)
            os.close(handle)


def _text(stream, file):
    stream.flush()
    file.seek(0)
    return file.read().decode(errors="replace")


def _faults_of_text(said, complained, *, sentences):
    """Return what is wrong with the output: more than one sentence, a patient's attribute."""
    import kinds

    lines = complained.split("\n")[:-1]
    found = [] if len(lines) == sentences else [f"prints {len(lines)} lines: {complained[:300]!r}"]
    for line in lines + said.split("\n"):
        if any(marker in line for marker in kinds.MARKERS):
            found.append(f"tells an attribute of the patient: {line[:300]!r}")
        if not line.isprintable() or len(line) > LONGEST_LINE:
            found.append(f"is no printable sentence: {len(line)} {line[:300]!r}")
    if any(tempfile.gettempdir() in line for line in lines):
        found.append(f"tells a whole path: {complained[:300]!r}")
    return found


def _is_of_memory(error):
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _memory(key: str) -> int:
    """Return a line of /proc/self/status in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise KeyError(key)


def _wait(number, frame):
    raise TooLongError


def serve() -> None:
    """Judge the mutants named on standard input, one JSON line for each."""
    signal.signal(signal.SIGALRM, _wait)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the original prints is no answer
    fuzzers: dict[str, Fuzzer] = {}
    tempfile.tempdir = _fast_folder()
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            name, number = line.split()
            if name not in fuzzers:
                fuzzers[name] = Fuzzer(name, Path(folder) / name)
                _limit_memory()
            answers.write(json.dumps(fuzzers[name].judge(int(number))) + "\n")
            answers.flush()


def _limit_memory() -> None:
    """Let a reader that asks for gigabytes fail before the machine does."""
    limit = 1024 * _memory("VmSize") + (6 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _fast_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # A program takes what is left in sys.argv for its own flags, and would refuse it.
    given, sys.argv[1:] = sys.argv[1:], []
    if not given:
        serve()
    else:
        signal.signal(signal.SIGALRM, _wait)
        name, number, place = given
        fuzzer = Fuzzer(name, Path(place))
        made = shutil.move(fuzzer.make(int(number)), fuzzer.folder / "mutant")
        sys.stdout.write(f"the mutant: {made}\n{fuzzer.judge(int(number))}\n")
