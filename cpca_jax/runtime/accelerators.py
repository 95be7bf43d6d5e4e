"""The accelerator that JAX was to use: absent, hidden, or there without JAX's support for it."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from cpca_jax.errors import InputError
from cpca_jax.runtime import logs

# Kinds of accelerators by the patterns of their device files, with what to install.
_DEVICES = (
    ("an NVIDIA GPU", ("nvidia[0-9]*",), 'pip install "jax[cuda12]" or "jax[cuda13]"'),
    ("an AMD GPU", ("kfd",), "install JAX for ROCm as its documentation says"),
    ("a TPU", ("accel[0-9]*", "vfio/[0-9]*"), 'pip install "jax[tpu]"'),
)
_HIDING = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_NOTHING = {"", "-1", "none", "void", "NoDevFiles"}


def check(environment: Mapping[str, str], *, devices: Path = Path("/dev")) -> str | None:
    """Start JAX's backend; return a warning if it leaves an accelerator of this machine unused.

    Args:
        environment: the environment variables of this process.
        devices: the folder of device files.

    Returns:
        One line, or None where JAX computes on what there is or on what the user chose.

    Raises:
        InputError: JAX_PLATFORMS names a platform that JAX cannot use here.
    """
    import jax

    chosen = environment.get("JAX_PLATFORMS", "")
    try:
        backend = jax.default_backend()
    # Without any NVIDIA driver, JAX's look for CUDA fails an assertion.
    except (RuntimeError, AssertionError) as error:
        if not chosen:
            raise InputError(f"JAX finds no device to compute on: {error}") from error
        raise InputError(
            f"JAX_PLATFORMS is '{chosen}', which JAX cannot use here; it must be unset or a list "
            "of cpu, cuda, rocm and tpu, each installed with its extra (such as cuda12) and there"
        ) from error
    if backend != "cpu" or chosen:
        return None
    return unused(environment, devices=devices)


def on_cpu(environment: Mapping[str, str], *, devices: Path = Path("/dev")) -> bool:
    """Tell whether JAX will compute on the CPU: by choice, or because there is nothing else."""
    chosen = environment.get("JAX_PLATFORMS", "")
    return chosen == "cpu" or (not chosen and unused(environment, devices=devices) is None)


def unused(environment: Mapping[str, str], *, devices: Path) -> str | None:
    """Return the warning about an accelerator beside which JAX computes on the CPU, or None."""
    found = next((row for row in _DEVICES if any(_any(devices, p) for p in row[1])), None)
    if found is None and shutil.which("nvidia-smi", path=environment.get("PATH", "")):
        found = _DEVICES[0]
    if found is None:
        return None
    what, _, install = found
    hidden = next((n for n in _HIDING if environment.get(n, "all").strip() in _NOTHING), None)
    if hidden and what == _DEVICES[0][0]:
        return (
            f"warning: {what} is there, but {hidden} is '{environment[hidden]}' and hides it; "
            "computing on the CPU"
        )
    return (
        f"warning: {what} is there, but this JAX has no support for it or its driver fails; "
        f"computing on the CPU ({install}; JAX_PLATFORMS=cpu silences this)"
    )


def _any(devices: Path, pattern: str) -> bool:
    return next(devices.glob(pattern), None) is not None


def warn() -> None:
    """Print the warning of `check`, if there is one, to standard error.

    Raises:
        InputError: As in `check`.
    """
    if line := check(os.environ):
        logs.complain(line)
