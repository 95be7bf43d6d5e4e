"""How a script starts: flags, exit codes, devices."""

import importlib.metadata
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from absl import flags
from ml_collections import config_flags

from cpca_jax.errors import InputError, StoppedError
from cpca_jax.runtime import addresses, logs, memory

_DEBUG = flags.DEFINE_bool("debug", False, "Show tracebacks of bad input and bad configuration.")

DONE, BUG, BAD_INPUT = 0, 1, 2
# Stopped as asked before it was done ("try again later" of sysexits.h), or before it had begun.
STOPPED, INTERRUPTED = 75, 130
BROKEN_JAX = ("0.10.2", "0.11.0", "0.11.1")


def run(main: Callable[[], None]) -> None:
    """Parse the flags, call `main`, exit: 0 done, 1 a bug, 2 bad input or bad configuration.

    75 is stopped as asked, 130 interrupted: the same command goes on. Bad input is one
    line on standard error; `--debug` adds the traceback.
    """
    _quiet_libraries()
    memory.keep_freed(os.environ)
    # A scheduler's farewell is an interruption: what is half written is tidied away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        refuse_broken_jax(importlib.metadata.version("jax"))
        _parse_flags()
        main()
    except KeyboardInterrupt:
        logs.complain("interrupted; run the same command again to go on")
        sys.exit(INTERRUPTED)
    except StoppedError as stopped:
        logs.complain(str(stopped))
        sys.exit(STOPPED)
    except InputError as error:
        if _DEBUG.present and _DEBUG.value:
            traceback.print_exc()
        logs.complain(f"error: {' '.join(str(error).split())}")
        sys.exit(BAD_INPUT)
    sys.exit(DONE)


def refuse_broken_jax(version: str) -> None:
    """Versions that give wrong numbers without a word must not be used.

    Raises:
        InputError: jax 0.10.2 (wrong reductions on CPU, jax issue 39103), 0.11.0 or 0.11.1 (wrong
            kernels on some GPUs, issue 40633).
    """
    if version in BROKEN_JAX:
        raise InputError(
            f"jax {version} is known to compute wrong numbers; install what requirements.txt pins"
        )


def _parse_flags() -> None:
    """Flags and configuration overrides; whatever is wrong with them is the user's to mend."""
    if any(arg in {"--help", "-h", "-help"} for arg in sys.argv[1:]):
        logs.say(f"{sys.modules['__main__'].__doc__}\n{flags.FLAGS.main_module_help()}")
        sys.exit(DONE)
    try:
        rest = flags.FLAGS(sys.argv)
        for flag in _required():
            getattr(flag.value, "keys", None)  # a configuration that failed to load says so now
    # A configuration file is Python and an override is evaluated: both may raise anything.
    except Exception as error:
        raise InputError(f"{type(error).__name__}: {error}") from error
    if rest[1:]:
        raise InputError(f"'{rest[1]}' is not a flag; see --help")
    missing = [f.name for f in _required() if f.value is None]
    if missing:
        raise InputError(f"--{missing[0]} is missing; see --help")
    for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]):
        for value in flag.value if isinstance(flag.value, list) else [flag.value]:
            if isinstance(value, str):
                addresses.refuse(f"--{flag.name}", value)


_REQUIRED: list[str] = []


def config_flag() -> flags.FlagHolder[Any]:
    """The flag --config FILE with --config.group.field=value behind it.

    Fields that the file does not have are let through, because a network's own fields are not all
    written there; `config.parse` refuses those that nothing knows, by name.
    """
    flag: flags.FlagHolder[Any] = config_flags.DEFINE_config_file(
        "config",
        None,
        "The experiment: a file of configs/.",
        lock_config=False,
        accept_new_attributes=True,
    )
    return flag


def require(*names: str) -> None:
    """Flags without which a script cannot work."""
    _REQUIRED.extend(names)


def _required() -> list[flags.Flag[Any]]:
    return [flags.FLAGS[name] for name in _REQUIRED]


def _quiet_libraries() -> None:
    """Libraries may log only what a user can act on."""
    import logging

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("absl", "orbax", "jax._src.xla_bridge"):
        logging.getLogger(name).setLevel(logging.ERROR)
