"""The values that a field or a pattern may have; a refusal names the key, the value and what fits.

Settings of an experiment and fields of networks, also of a user's own ones, are held to their
annotated types and to bounds by the same functions.
"""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cpca_jax.errors import ConfigError
from cpca_jax.registry import near

# The names that a message lists at most.
_LISTED = 40


@dataclasses.dataclass(frozen=True)
class Bound:
    """The values that a field may have.

    Attributes:
        wanted: the words that complete "it must be ..." in messages and in the help.
        holds: a function that tells whether a value of the right type is allowed.
    """

    wanted: str
    holds: Callable[[Any], bool]


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return bool(pattern.strip())


def _each(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a test of one value, or of each value of a list that is not empty."""

    def holds(value: Any) -> bool:
        values = value if isinstance(value, tuple | list) else (value,)
        return bool(values) and all(test(one) for one in values)

    return holds


POSITIVE = Bound("positive", lambda value: value > 0)
NOT_NEGATIVE = Bound("zero or more", lambda value: value >= 0)
ONE_OR_MORE = Bound("1 or more", lambda value: value >= 1)
ODD = Bound("odd", lambda value: value % 2 == 1 and value > 0)
SHARE = Bound("in (0, 1]", lambda value: 0 < value <= 1)
MOMENTUM = Bound("in [0, 1)", lambda value: 0 <= value < 1)
SEVERAL = Bound("2 or more", lambda value: value >= 2)
NONE_OR_SEVERAL = Bound("0 for none, or 2 or more", lambda value: value == 0 or value >= 2)
WINDOW = Bound("[low, high] HU", lambda value: len(value) == 2 and value[0] < value[1])
# JAX keeps the lower 32 bits of a seed and drops the others without a word.
SEED = Bound("in [0, 4294967295]", lambda value: 0 <= value < 2**32)
# Steps, sizes and counts are 32-bit numbers on every device.
INTEGER = Bound("below 2147483648", lambda value: abs(value) < 2**31)
EACH_ONE_OR_MORE = Bound("1 or more", _each(lambda value: value >= 1))
NAMES = Bound("a list of names", lambda value: all(name.strip() for name in value))
PATTERNS = Bound("a list of regular expressions", lambda value: all(map(_compiles, value)))


def one_of(*choices: str) -> Bound:
    """Return the bound of a field that takes one of a few words."""
    shown = " or ".join(choice or "empty" for choice in choices)
    return Bound(shown, lambda value: value in choices)


def require(key: str, value: Any, bound: Bound) -> None:
    """Refuse a value that a bound forbids, or that is of a type which it cannot judge.

    Raises:
        ConfigError: the value is not allowed.
    """
    try:
        allowed = bound.holds(value)
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        allowed = False
    if not allowed:
        raise ConfigError(f"{key}: {value!r}; it must be {bound.wanted}")


def require_number(key: str, value: Any, bound: Bound) -> None:
    """Refuse what is no finite number, and a number that a bound forbids.

    Raises:
        ConfigError: the value is not allowed.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{key}: {value!r}; it must be a finite number, {bound.wanted}")
    require(key, value, bound)


def require_count(key: str, value: Any, bound: Bound) -> None:
    """Refuse what is no whole number, and one that a bound forbids.

    Raises:
        ConfigError: the value is not allowed.
    """
    convert(int, value, key)
    require(key, value, INTEGER)
    require(key, value, bound)


def convert(hint: Any, value: Any, key: str) -> Any:
    """Return one value in its annotated type: lists become tuples, whole numbers floats.

    Args:
        hint: the annotation; a value passes as it is where this function does not know it.
        value: the value, as a configuration, JSON or the command line gives it.
        key: the key of the value, for messages.

    Raises:
        ConfigError: the value is of another type, or a number that is not finite.
    """
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _tuple(typing.get_args(hint), value, key)
    if origin in {typing.Union, types.UnionType}:
        return _first_that_fits(typing.get_args(hint), value, key)
    if origin is typing.Literal:
        require(key, value, one_of(*map(str, typing.get_args(hint))))
        return value
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key}: {value!r}; it must be a mapping")
        return {name: as_tuples(inner) for name, inner in value.items()}
    return _plain(hint, value, key) if hint in {bool, int, float, str, types.NoneType} else value


def as_tuples(value: Any) -> Any:
    """Return lists, at any depth, as tuples."""
    return tuple(as_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def require_matches(key: str, patterns: Iterable[str], names: Iterable[str]) -> None:
    """Refuse a regular expression that matches none of the names as a whole.

    Raises:
        ConfigError: a pattern matches nothing; the message lists the names there are.
    """
    known = list(names)
    for pattern in patterns:
        if any(re.fullmatch(pattern, name) for name in known):
            continue
        inside = f"{pattern}/.*"
        meant = near(pattern, known)
        if _compiles(inside) and any(re.fullmatch(inside, name) for name in known):
            meant = f"; did you mean '{inside}'?"
        more = ", ..." if len(known) > _LISTED else ""
        there = ", ".join(known[:_LISTED]) + more
        raise ConfigError(f"{key}: '{pattern}' matches no parameter; there are {there}{meant}")


def _tuple(items: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{key}: {value!r}; it must be a list")
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise ConfigError(f"{key}: {value!r}; it must be a list of {len(items)}")
    return tuple(convert(item, one, key) for item, one in zip(items, value, strict=True))


def _first_that_fits(hints: tuple[Any, ...], value: Any, key: str) -> Any:
    problems = []
    for hint in hints:
        try:
            return convert(hint, value, key)
        except ConfigError as error:
            problems.append(error)
    raise problems[0]


def _plain(hint: Any, value: Any, key: str) -> Any:
    if hint is float and type(value) is int and abs(value) < 2**63:
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(f"{key}: {value!r}; it must be of type {hint.__name__}")
    if hint is float and not math.isfinite(value):
        raise ConfigError(f"{key}: {value!r}; it must be finite")
    return value
