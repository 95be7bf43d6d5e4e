"""Checkpoints on shares that can neither flush a folder nor lock a file."""

import shutil
import subprocess
import sys

import pytest
from commands import call

# Takes the place of the C library's calls, as a CIFS or FUSE mount answers them.
SHARE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
static int is_folder(int fd) { struct stat s; return !fstat(fd, &s) && S_ISDIR(s.st_mode); }
#define FLUSH(name) int name(int fd) { \
  if (is_folder(fd)) { errno = EINVAL; return -1; } \
  int (*f)(int) = dlsym(RTLD_NEXT, #name); return f(fd); }
FLUSH(fsync)
FLUSH(fdatasync)
int flock(int fd, int how) { errno = ENOLCK; return -1; }
#define CONTROL(name) int name(int fd, int what, ...) { \
  va_list v; va_start(v, what); void *a = va_arg(v, void *); va_end(v); \
  if (what == F_SETLK || what == F_SETLKW || what == F_OFD_SETLK || what == F_OFD_SETLKW) \
    { errno = ENOLCK; return -1; } \
  int (*f)(int, int, ...) = dlsym(RTLD_NEXT, #name); return f(fd, what, a); }
CONTROL(fcntl)
CONTROL(fcntl64)
int link(const char *a, const char *b) { errno = EPERM; return -1; }
"""
SAVE = """
import pathlib, sys
import numpy as np
from cpca_jax.runs import checkpoints, saving
from cpca_jax.runs.state import Player, TrainState
run = pathlib.Path(sys.argv[1])
kernel = np.arange(4000, dtype=np.float32).reshape(40, 100)
player = Player({f"conv{i}": {"kernel": kernel + i} for i in range(20)}, (), {})
saving.save(run, TrainState(np.int32(7), player, None), "{}", about={}, keep=1)
step = checkpoints.require_step(run)
back, _ = checkpoints.restore_network(run, "generator", step=step)
assert all((back[f"conv{i}"]["kernel"] == kernel + i).all() for i in range(20))
print("saved", step, *sorted(path.name for path in (run / "checkpoints").iterdir()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="preloads a library into glibc's programs")
def test_a_checkpoint_is_saved_and_restored_without_folder_flushes_locks_and_links(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, which the share's stand-in needs")
    source, library = tmp_path / "share.c", tmp_path / "share.so"
    source.write_text(SHARE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    result = call("-c", SAVE, tmp_path / "run", LD_PRELOAD=str(library))
    assert result.returncode == 0, result.stderr
    assert result.stdout == "saved 7 7\n"
