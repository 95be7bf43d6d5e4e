"""Freed memory that a program keeps for its next step.

On CPUs XLA takes the arrays of a call from the C library and gives them back after it. glibc
returns large ones to the system, which hands them out again page by page, zeroed: 48,000 page
faults for one 512x512 slice of CPCA-1, a fifth of its time.
"""

import ctypes
import sys
from collections.abc import Callable, Mapping

# Names of glibc's mallopt (malloc.h), with values that keep all memory in one heap that never
# shrinks: one arena, no allocation of its own mapping, no trimming.
_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1
_KEPT = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))


def keep_freed(environment: Mapping[str, str]) -> bool:
    """Tell the C library to keep freed memory; for programs, before they compute.

    The memory of a process then stays at its peak until it ends. Whoever has set glibc's own
    variables (GLIBC_TUNABLES, MALLOC_*) knows better, and is let be.

    Args:
        environment: variables of the process.

    Returns:
        Whether it did; not without glibc.
    """
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in environment):
        return False
    choose = _mallopt()
    return choose is not None and all(choose(name, value) == 1 for name, value in _KEPT)


def _mallopt() -> Callable[[int, int], int] | None:
    """The `mallopt` of glibc; None elsewhere: other libraries give these numbers other meanings."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return None
    choose: Callable[[int, int], int] = library.mallopt
    return choose
