"""The start of a program: flags, plug-ins, exit codes, devices."""

import importlib.metadata
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from cpca_jax import configs
from cpca_jax.errors import DivergedError, InputError, StoppedError
from cpca_jax.programs import usage
from cpca_jax.runtime import (
    accelerators,
    addresses,
    circumstances,
    logs,
    memory,
    plugins,
    signals,
    streams,
)

DONE, BUG, BAD_INPUT, DIVERGED = 0, 1, 2, 3
STOPPED, INTERRUPTED = signals.STOPPED, signals.INTERRUPTED
BROKEN_JAX = ("0.10.2", "0.11.0", "0.11.1")


class Program:
    """The flags of one program, independent of those of other programs.

    Attributes:
        text: The program's docstring.
        flags: The flags, to pass as `flag_values` to each of absl's DEFINE functions.
        config: The kind of configuration that --config takes; None without that flag.
        plugins: The names of the loaded plug-ins.
    """

    def __init__(self, text: str | None) -> None:
        """Define the flags that every program has.

        Args:
            text: The docstring of the program's module.
        """
        self.text = text or ""
        self.flags: flags.FlagValues = flags.FlagValues()  # type: ignore[no-untyped-call]
        self.config: usage.Kind | None = None
        self.plugins: tuple[str, ...] = ()
        self._required: list[str] = []
        flags.DEFINE_bool(
            "debug",
            False,
            "Show tracebacks of bad input and bad configuration.",
            flag_values=self.flags,
        )

    def required(self, name: str, text: str) -> flags.FlagHolder[Any]:
        """Define a text flag that the program requires."""
        self._required.append(name)
        return flags.DEFINE_string(name, None, text, flag_values=self.flags)

    def config_flag(self, kind: usage.Kind) -> flags.FlagHolder[Any]:
        """Define --config NAME_OR_FILE, with overrides such as --config.group.field=value.

        Fields that the configuration does not have are accepted here, because it does not list all
        of a network's own fields; `config.parse` refuses unknown fields by name.
        """
        self.config = kind
        self._required.append("config")
        holder: flags.FlagHolder[Any] = config_flags.DEFINE_config_file(
            "config",
            None,
            f"The {kind.noun}: a built-in one, NAME or NAME:VARIANT, or a file, FILE.py.",
            lock_config=False,
            accept_new_attributes=True,
            flag_values=self.flags,
        )
        self.flags["config"].parser = _ConfigParser()
        return holder

    def plugin_flag(self) -> None:
        """Define --plugin FILE_OR_MODULE, which may be given several times or hold a list."""
        _define_plugin(self.flags)

    def parse(self, arguments: Sequence[str]) -> None:
        """Load the plug-ins, then parse flags and configuration.

        Raises:
            InputError: A plug-in, a flag or the configuration is wrong.
        """
        try:
            # Plug-ins come first, because a configuration may use what they register.
            if "plugin" in self.flags:
                self.plugins = plugins.load(_given_plugins(arguments))
            rest = self.flags(arguments)
        except InputError:
            raise
        # The evaluation of an override may raise any exception.
        except Exception as error:
            raise InputError(f"{type(error).__name__}: {error}") from error
        if rest[1:]:
            raise InputError(f"'{rest[1]}' is not a flag; see --help")
        missing = [name for name in self._required if self.flags[name].value is None]
        if missing:
            raise InputError(f"--{missing[0]} is missing; see --help")
        for name in self.flags:
            value = self.flags[name].value
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, str):
                    addresses.refuse(f"--{name}", one)
                    if isinstance(value, list) and name != "plugin" and not one.strip():
                        raise InputError(f"--{name}: a name in the list is empty")

    @property
    def debug(self) -> bool:
        """True if tracebacks are to be shown."""
        flag = self.flags["debug"]
        return bool(flag.present and flag.value)


class _ConfigParser(flags.ArgumentParser[ConfigDict]):
    """A parser that loads a configuration by name or path."""

    def parse(self, argument: str) -> ConfigDict:
        return configs.load(argument)

    def flag_type(self) -> str:
        return "config object"


def _define_plugin(values: flags.FlagValues) -> None:
    flags.DEFINE_multi_string(
        "plugin",
        [],
        "A file or module that registers rows of your own (docs/extending.md).",
        flag_values=values,
    )


def _given_plugins(arguments: Sequence[str]) -> list[str]:
    """Return the values of --plugin, anywhere among other flags."""
    alone: flags.FlagValues = flags.FlagValues()  # type: ignore[no-untyped-call]
    _define_plugin(alone)
    alone.set_gnu_getopt(True)
    alone(arguments, known_only=True)
    given: list[str] = alone["plugin"].value or []
    return [name for value in given for name in value.split(",") if name]


def run(program: Program, main: Callable[[], None]) -> None:
    """Parse the flags, call `main`, exit: 0 done, 1 a bug, 2 bad input or bad configuration.

    The exit code 3 is that of a training that diverged. The exit codes 75, stopped as asked by a
    signal, and 130, interrupted by Ctrl-C before there was anything to save, mean that the same
    command continues. Bad input, a divergence and circumstances outside the program (a full disk,
    no permission, no memory) give one line on standard error; `--debug` adds the traceback.
    """
    streams.make_lasting()
    _quiet_libraries()
    memory.keep_freed(os.environ)
    with signals.exit_codes():
        _run(program, main)
    sys.exit(DONE)


def _run(program: Program, main: Callable[[], None]) -> None:
    try:
        if any(argument in {"--help", "-h", "-help"} for argument in sys.argv[1:]):
            _help(program)
        else:
            refuse_broken_jax(importlib.metadata.version("jax"))
            program.parse(sys.argv)
            main()
    except StoppedError as stopped:
        logs.complain(str(stopped))
        sys.exit(STOPPED)
    except Exception as error:
        known = isinstance(error, InputError | DivergedError)
        told = str(error) if known else circumstances.sentence(error)
        if told is None:
            raise
        if program.debug:
            traceback.print_exc()
        logs.complain(f"error: {' '.join(told.split())}")
        sys.exit(DIVERGED if isinstance(error, DivergedError) else BAD_INPUT)
    if streams.output_failure():
        logs.complain(f"error: {streams.output_failure()}; all files are complete")
        sys.exit(BAD_INPUT)


def _help(program: Program) -> None:
    call = Path(sys.argv[0]).name
    logs.show(usage.text(call, program.text, program.flags, program.config))
    streams.require_output()


def refuse_broken_jax(version: str) -> None:
    """Refuse versions of jax that silently compute wrong numbers.

    Raises:
        InputError: The version is 0.10.2 (wrong reductions on CPU, jax issue 39103), 0.11.0 or
            0.11.1 (wrong kernels on some GPUs, issue 40633).
    """
    if version in BROKEN_JAX:
        raise InputError(
            f"jax {version} is known to compute wrong numbers; install the version that "
            "requirements.txt pins"
        )


def _quiet_libraries() -> None:
    """Limit the logs of libraries to what a user can act on."""
    import logging

    # XLA on CPUs logs an error for each program that it takes from its cache, because it misses
    # "features" of the machine that are only hints (+prefer-no-gather). What fails, raises. On
    # accelerators, errors of drivers are shown.
    noisy = "JAX_COMPILATION_CACHE_DIR" in os.environ and accelerators.on_cpu(os.environ)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if noisy else "2")
    for name in ("absl", "orbax", "jax._src.xla_bridge"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Programs have their own flags; absl's logging warns as long as its global flags are unparsed.
    flags.FLAGS.mark_as_parsed()
