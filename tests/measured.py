"""A process that reads files from outside and measures each: time, memory and what was said.

It takes lines of JSON, [reader, path], and answers each with [message, seconds, bytes]. A reader
may not take more than 3 GB; the system stops it there.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent
_MOST = 3 << 30


class Measured(NamedTuple):
    """What reading a file took: the message of its refusal, seconds, bytes beyond those before."""

    message: str
    seconds: float
    bytes: int


def measure(files: Sequence[tuple[str, Path]]) -> list[Measured]:
    """Read files one after the other in one other process; each is (reader, path)."""
    lines = "\n".join(json.dumps([reader, str(path)]) for reader, path in files)
    command = [sys.executable, __file__]
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [Measured(*json.loads(line)) for line in done.stdout.splitlines()]


def _readers():
    # Imported only in the child, all before the first file is read.
    import h5py
    import nibabel
    import PIL.Image
    import safetensors.numpy

    from cpca_jax.data.collections.arrays import open_npy
    from cpca_jax.data.collections.hdf5_pairs import Hdf5Scan
    from cpca_jax.data.collections.nifti import read_geometry, read_nifti
    from cpca_jax.data.collections.png_pairs import PngScan
    from cpca_jax.data.collections.sidecar import Sidecar
    from cpca_jax.data.dicom.slice_file import read_header, read_slice
    from cpca_jax.models.vgg import Architecture
    from cpca_jax.weights.torch_import import read_state
    from cpca_jax.weights.vgg_files import read_arrays

    assert all((h5py, nibabel, PIL.Image, safetensors.numpy))
    narrow = Architecture("narrow", convolutions=(1, 1), widths=(4, 4))

    def scan(kind, path):
        return kind(
            name="a",
            above=("in",),
            arrays=(path,),
            shape=(1, 16, 16),
            numbers=(0,),
            in_order=False,
            dose_level="full",
            beside=Sidecar(),
        )

    return {
        "header": read_header,
        "slice": read_slice,
        "nifti header": read_geometry,
        "nifti": read_nifti,
        "weights": lambda path: read_arrays(path, narrow),
        "state": read_state,
        "npy": lambda path: open_npy(path, "z y x"),
        "png": lambda path: scan(PngScan, path).slice_values(path),
        "hdf5": lambda path: scan(Hdf5Scan, path).values(),
    }


def _peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def _main():
    import resource

    from cpca_jax.errors import InputError

    readers = _readers()
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST, _MOST))
    for line in sys.stdin:
        reader, path = json.loads(line)
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        before, start, message = _peak(), time.perf_counter(), ""
        try:
            readers[reader](Path(path))
        except InputError as error:
            message = str(error)
        except Exception as error:
            message = f"BUG {type(error).__name__}: {error}"
        measured = Measured(message, time.perf_counter() - start, _peak() - before)
        sys.stdout.write(json.dumps(measured) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.path[:0] = [str(TESTS.parent), str(TESTS)]
    _main()
