"""The text of --help: usage, flags, built-in experiments, and every field of a configuration."""

import dataclasses
import textwrap
import typing
from collections.abc import Callable, Iterator
from typing import Any

from absl import flags

from cpca_jax import configs
from cpca_jax.runs import bounds
from cpca_jax.runs.config import Experiment

_WIDTH = 96


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of configuration that a program's --config takes.

    Attributes:
        noun: The word for it in the help.
        includes: A function that tells from its name whether a built-in experiment is of the kind.
        prefix: The text before the name of a field on the command line.
    """

    noun: str
    includes: Callable[[str], bool]
    prefix: str


EXPERIMENT = Kind("experiment", lambda name: name != "deck", "--config.")
REPRODUCTION = Kind("reproduction", lambda name: name == "deck", "--config.trainings.NAME.config.")


def text(call: str, about: str, defined: flags.FlagValues, kind: Kind | None) -> str:
    """Return the help of a program.

    Args:
        call: The program as the user called it, such as "train.py" or "cpca train".
        about: The docstring of the program.
        defined: The flags of the program.
        kind: The kind of its configuration; None if it takes none.
    """
    lines = [f"usage: {call} --FLAG=VALUE ...", "", about.strip(), "", "Flags:"]
    lines += _flags(defined)
    if kind is not None:
        lines += ["", *_experiments(kind), "", *_fields(kind)]
    return "\n".join(lines)


def _flags(defined: flags.FlagValues) -> Iterator[str]:
    own = [flag for module in defined.flags_by_module_dict().values() for flag in module]
    # The flags that every program has come last.
    for flag in sorted(own, key=lambda flag: flag.name in {"debug", "plugin"}):
        default = (flag.default_as_str or "").strip("'")
        told = "" if default in {"", "false", "[]"} else f" Default: {default}."
        yield f"  --{flag.name}"
        yield _indented(f"{flag.help}{told}")


def _experiments(kind: Kind) -> Iterator[str]:
    yield f"Built-in values of --config ({kind.noun}s); a file of your own ends in .py:"
    for name, summary in configs.summaries().items():
        if kind.includes(name):
            yield f"  {name:<16} {summary}"


def _fields(kind: Kind) -> Iterator[str]:
    yield f"Fields of the {kind.noun}, with their defaults; built-in ones change a few of them:"
    yield from _group(Experiment, kind.prefix)


def _group(group: Any, prefix: str) -> Iterator[str]:
    hints, defaults = typing.get_type_hints(group), group()
    fields = dataclasses.fields(group)
    for field in fields:
        if not dataclasses.is_dataclass(hints[field.name]):
            value, hint = getattr(defaults, field.name), hints[field.name]
            yield from _field(f"{prefix}{field.name}", value, hint, bounds.about(field))
    for field in fields:
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield f"\n {field.name}: {hint.__doc__}"
            yield from _group(hint, f"{prefix}{field.name}.")


def _field(name: str, value: Any, hint: Any, about: bounds.Setting) -> Iterator[str]:
    kind = hint.__name__ if isinstance(hint, type) else str(hint).rpartition("abc.")[2]
    limit = f"; {about.bound.wanted}" if about.bound else ""
    source = f" Source: {about.source}." if about.source else ""
    yield f"  {name}={_shown(value)}  ({kind}{limit})"
    yield _indented(f"{about.text}{source}")


def _shown(value: Any) -> str:
    return '""' if value == "" else str(value)


def _indented(line: str) -> str:
    indent = " " * 6
    return textwrap.fill(
        " ".join(line.split()),
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
