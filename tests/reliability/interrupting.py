"""A server that forks a process for each run of a job, and disturbs it.

The fork saves the seconds that imports take. Disturbances: a SIGKILL before the n-th operation on
a file or after some seconds, and a disk that is full from the n-th operation on.
"""

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

# The operations that change a folder, as Python announces them to an audit hook.
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate"}
NEEDS_SPACE = {"open", "os.mkdir", "os.link"}
LONGEST_SECONDS = 300


class Counter:
    """Counts the operations below a folder and disturbs the n-th of them.

    Attributes:
        count: the number of operations so far.
    """

    def __init__(self, folder: str, at: int, how: str) -> None:
        self.folder, self.at, self.how, self.count = folder, at, how, 0

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self._changes(event, arguments):
            return
        self.count += 1
        if self.how == "kill" and self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "full" and self.count >= self.at and event in NEEDS_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    def _changes(self, event, arguments):
        if event == "open":
            path, _, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            return writes and isinstance(path, str | bytes | os.PathLike) and self._inside(path)
        # Names relative to an open folder come from the removal of a tree.
        return event in CHANGES and (self._inside(arguments[0]) or arguments[-1] not in {-1, None})

    def _inside(self, path):
        return os.fsdecode(path).startswith(self.folder)


def run_forked(request: dict) -> dict:
    """Run a job in a process of its own, and return its exit code, output and operations."""
    import jobs

    folder, base = Path(request["folder"]), Path(request["given"])
    # By the server's number, because several servers run the same job.
    own = base.with_name(f"{base.name}-{os.getpid()}")
    out, err, counted = (Path(f"{own}.{name}") for name in ("out", "err", "count"))
    counted.unlink(missing_ok=True)
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        code = 1
        with contextlib.suppress(BaseException):
            code = _run(jobs.JOBS[request["job"]], base, folder, request, counted)
        os._exit(code)
    if request["how"] == "kill" and request["seconds"]:
        threading.Timer(request["seconds"], _kill, [process]).start()
    status = _wait_for(process)
    return {
        "code": status,
        "out": out.read_text(errors="replace"),
        "err": err.read_text(errors="replace"),
        "operations": int(counted.read_text()) if counted.exists() else 0,
        "seconds": time.monotonic() - start,
    }


def _run(job, given, folder, request, counted):
    import jax

    from cpca_jax.programs import launch

    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    if request["how"]:  # a killed process must not leave half an entry in the cache of programs
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)
    counter = Counter(str(folder), request["at"], request["how"])
    sys.addaudithook(counter)
    sys.argv = ["cpca"]
    try:
        launch.run(launch.Program(""), lambda: job.run(given, folder))
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        counter.how = ""
        counted.write_text(str(counter.count))
    return 0


def _kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _wait_for(process):
    """Return the exit code; one that runs too long is killed and counts as a hang."""
    signal.alarm(LONGEST_SECONDS)
    try:
        _, status = os.waitpid(process, 0)
    except TimeoutError:
        _kill(process)
        os.waitpid(process, 0)
        return "hangs"
    finally:
        signal.alarm(0)
    return os.waitstatus_to_exitcode(status)


def _too_long(number, frame):
    raise TimeoutError


def serve() -> None:
    """Answer the requests on standard input: JSON lines, see `run_forked`."""
    import jobs  # noqa: F401

    from cpca_jax.evaluation import case_studies  # noqa: F401

    signal.signal(signal.SIGALRM, _too_long)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(run_forked(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    # The second: XLA's own hints about programs that it takes from its cache.
    os.environ |= {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    serve()
