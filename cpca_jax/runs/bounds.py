"""The documentation of a configuration field: meaning, source of its default, allowed values."""

import dataclasses
from collections.abc import Callable
from typing import Any

_KEY = "setting"


@dataclasses.dataclass(frozen=True)
class Bound:
    """The values that a field may have.

    Attributes:
        wanted: the words that complete "it must be ..." in messages and in the help.
        holds: a function that tells whether a value of the right type is allowed.
    """

    wanted: str
    holds: Callable[[Any], bool]


POSITIVE = Bound("positive", lambda value: value > 0)
NOT_NEGATIVE = Bound("zero or more", lambda value: value >= 0)
ONE_OR_MORE = Bound("1 or more", lambda value: value >= 1)
ODD = Bound("odd", lambda value: value % 2 == 1 and value > 0)
SHARE = Bound("in (0, 1]", lambda value: 0 < value <= 1)
MOMENTUM = Bound("in [0, 1)", lambda value: 0 <= value < 1)
NONE_OR_SEVERAL = Bound("0 for none, or 2 or more", lambda value: value == 0 or value >= 2)
WINDOW = Bound("[low, high] HU", lambda value: len(value) == 2 and value[0] < value[1])


def one_of(*choices: str) -> Bound:
    """Return the bound of a field that takes one of a few words."""
    return Bound(" or ".join(choices), lambda value: value in choices)


@dataclasses.dataclass(frozen=True)
class Setting:
    """The documentation of one field.

    Attributes:
        text: one phrase that says what the field means, with its unit.
        source: the origin of the default; empty where it is a choice of this project.
        bound: the allowed values, checked when a configuration is parsed; None for any value.
        added: whether a run may lack the field and gets the default, because the run was written
            before the field existed.
    """

    text: str
    source: str = ""
    bound: Bound | None = None
    added: bool = False


def setting(
    default: Any,
    text: str,
    *,
    source: str = "",
    bound: Bound | None = None,
    added: bool = False,
) -> Any:
    """Declare a field of a configuration dataclass; the arguments are those of `Setting`.

    Names of rows that a plug-in may add have no bound: they are checked when they are looked up,
    so that a run with an unknown name can still be read.
    """
    about = {_KEY: Setting(text, source, bound, added)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=about)
    return dataclasses.field(default=default, metadata=about)


def about(field: "dataclasses.Field[Any]") -> Setting:
    """Return the documentation of a field; it is empty for a field that holds a group."""
    found: Setting = field.metadata.get(_KEY, Setting(""))
    return found
