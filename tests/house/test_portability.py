"""No module needs anything that only POSIX systems have; a stand-in for Windows and macOS."""

import subprocess
import sys

from conftest import CHECKOUT

# A program that imports every module of the package without these modules and names. The libraries
# come first, because on Linux they may rely on the features of Linux.
IMPORT_ALL = """
import importlib, os, signal, sys
for library in sys.argv[1].split(","):
    importlib.import_module(library)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for owner, names in (
    (os, ("O_DIRECTORY", "O_NOFOLLOW", "getuid", "fork", "sched_getaffinity")),
    (signal, ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL")),
):
    for name in names:
        delattr(owner, name)
for name in sys.argv[2:]:
    importlib.import_module(name)
"""
LIBRARIES = (
    "jax,flax.linen,optax,orbax.checkpoint,scipy.signal,pydicom,nibabel,h5py,matplotlib.pyplot,"
    "ml_collections.config_flags,rich.progress,tensorboardX"
)


def test_every_module_is_imported_without_what_only_posix_has():
    files = sorted((CHECKOUT / "cpca_jax").rglob("*.py"))
    names = [".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in files]
    modules = [name.removesuffix(".__init__") for name in names]
    command = [sys.executable, "-c", IMPORT_ALL, LIBRARIES, *modules]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
