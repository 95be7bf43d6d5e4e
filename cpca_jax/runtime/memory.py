"""Freed memory that a program keeps for its next step.

On a CPU, XLA takes the arrays of a call from the C library and gives them back afterwards. glibc
returns large ones to the system, which hands them out again page by page, zeroed: this costs
48,000 page faults for one 512x512 slice of CPCA-1, a fifth of its time.
"""

import ctypes
import sys
from collections.abc import Callable, Mapping

# Parameters of glibc's mallopt (malloc.h), with values that keep all memory in one heap that never
# shrinks: one arena, no allocation with a mapping of its own, no trimming.
_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1
_KEPT = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))


def keep_freed(environment: Mapping[str, str]) -> bool:
    """Make the C library keep freed memory; programs call this before they compute.

    The memory of a process then stays at its peak until the process ends. Where the user has set
    glibc's own variables (GLIBC_TUNABLES, MALLOC_*), these are respected and nothing is changed.

    Args:
        environment: The environment variables of the process.

    Returns:
        True if the setting was made; False without glibc, or where the user's variables decide.
    """
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in environment):
        return False
    choose = _mallopt()
    return choose is not None and all(choose(name, value) == 1 for name, value in _KEPT)


def _mallopt() -> Callable[[int, int], int] | None:
    """Return glibc's `mallopt`; None elsewhere, where the same numbers have other meanings."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return None
    choose: Callable[[int, int], int] = library.mallopt
    return choose
