"""Headers of many files, read on all cores.

The headers are read by processes, not by threads: reading one is nearly all Python, and threads
only wait for each other (measured: 1150 headers per second of processor time in one thread, 740
in two).
"""

import functools
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from cpca_jax.data.dicom import slice_file
from cpca_jax.data.dicom.header import STRICT, Allowances, Header
from cpca_jax.errors import DicomError
from cpca_jax.runtime import circumstances

# Each process takes about as long to start as this many headers take to read.
FEWEST_PER_PROCESS = 2000
_CHUNK = 64


def read_headers(
    paths: Sequence[Path],
    *,
    root: Path,
    processes: int | None = None,
    allowances: Allowances = STRICT,
) -> Iterator[Header | DicomError | None]:
    """Read headers in the order of the paths.

    Args:
        paths: files of any kind.
        root: the folder of the collection, see `header.check`.
        processes: the number of processes; default one for each core, fewer for few files.
        allowances: the attributes that may be missing in a file.

    Yields:
        For each file its header, the reason for its refusal, or None where it is not DICOM.

    Raises:
        DicomError: a file has vanished since it was listed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = processes or max(1, min(cores or 1, len(paths) // FEWEST_PER_PROCESS))
    read = functools.partial(read_one, root=root, allowances=allowances)
    done = 0
    if count > 1:
        # Not forked: a fork would cut off JAX's threads in the middle of their work.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=_ignore_interrupts)
        try:
            for one in pool.map(read, paths, chunksize=_CHUNK):
                yield one
                done += 1
        except BrokenProcessPool:
            pass  # a console or a notebook cannot be started again; go on alone
        finally:
            pool.shutdown(cancel_futures=True)
    yield from map(read, paths[done:])


def read_one(
    path: Path, *, root: Path, allowances: Allowances = STRICT
) -> Header | DicomError | None:
    """Return a file's header, the reason for its refusal, or None where it is not DICOM.

    Raises:
        DicomError: the file has vanished since it was listed.
    """
    if not slice_file.is_dicom(path):
        try:
            path.open("rb").close()
        except FileNotFoundError:
            if path.is_symlink():
                return DicomError(f"{path.name}: is a link that leads nowhere, must lead to a file")
            raise DicomError(f"{path.name}: vanished while being read; start again") from None
        except OSError as error:
            reason = circumstances.reason(error)
            return DicomError(f"{path.name}: cannot be read: {reason}")
        return None
    try:
        return slice_file.read_header(path, root=root, allowances=allowances)
    except DicomError as error:
        return error


def _ignore_interrupts() -> None:
    # The parent is interrupted too, and ends its processes in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
