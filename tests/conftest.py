"""Settings and fixtures of all tests."""

import atexit
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

# Eight virtual devices, as many as a large host; must be set before jax starts.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

# A cache, so that other workers and commands need not compile the same programs again. Its folder
# belongs to this run alone, because anyone who can write into it can run code here.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _COMPILED = tempfile.mkdtemp(prefix="cpca-compiled-")
    atexit.register(shutil.rmtree, _COMPILED, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

# Shells start what runs in the background with SIGINT ignored, and the programs keep that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import jax  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture
def key() -> jax.Array:
    """Return a root key."""
    return jax.random.key(20171119)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder with real CT slices; skip the test, with the reason, where there is none."""
    folder = Path(os.environ.get("CPCA_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real CT slices: neither CPCA_DATA nor {folder.parent.name}/data is there")
    return folder
