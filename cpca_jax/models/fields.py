"""The values that the own fields of a network may have, checked before a training begins.

Who only denoises does not need this: a run is built with what it says.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from cpca_jax.errors import ConfigError
from cpca_jax.models import ALLOWED, CRITICS, MODELS, fields_of, require_field
from cpca_jax.values import EACH_ONE_OR_MORE, INTEGER, Bound, convert, require

# The bounds of a field, in whichever network it occurs; a network's own `bounds` come first.
BOUNDS: dict[str, Bound] = {"features": EACH_ONE_OR_MORE, "dense": EACH_ONE_OR_MORE}
# The fields that other parts of a configuration set.
_SET_ELSEWHERE = {"slices": "config.model.slices", "dtype": "config.compute.precision"}


def require_fields(part: str, name: str, fields: Mapping[str, Any]) -> None:
    """Refuse values that a network's fields cannot have, before a training begins.

    Types are those that the fields of the network's class are annotated with; bounds are those of
    `BOUNDS` and of the class's own attribute `bounds`. A run that is read back is not held to
    them, because it was trained with what it says.

    Args:
        part: "model" or "critic".
        name: the name of the network.
        fields: its own fields, as a configuration gives them.

    Raises:
        ConfigError: an unknown name or field, or a value of another type or out of its bounds.
    """
    kind = (CRITICS if part == "critic" else MODELS).pick(name, f"config.{part}.name")
    known, own = fields_of(kind), getattr(kind, "bounds", {})
    hints = _hints(kind)
    for field, value in fields.items():
        key = f"config.{part}.fields.{field}"
        if field in _SET_ELSEWHERE:
            where = _SET_ELSEWHERE[field]
            raise ConfigError(f"{key}: {value!r}; it must be left out, because {where} sets it")
        require_field(key, name, field, known)
        convert(hints[field], value, key)
        for number in value if isinstance(value, tuple) else (value,):
            if type(number) is int:
                require(key, number, INTEGER)
        if field in own or field in BOUNDS:
            require(key, value, own.get(field) or BOUNDS[field])
        if field in ALLOWED and value not in ALLOWED[field]:
            raise ConfigError(f"{key}: {value!r} is not one of {ALLOWED[field]}")


def _hints(kind: type[Any]) -> dict[str, Any]:
    """Return the types of a network's fields; that of the default where none can be found."""
    try:
        found = typing.get_type_hints(kind)
    except Exception:  # a name that the author's module knows for type checkers only
        found = {}
    fields = dataclasses.fields(kind)
    return {field.name: found.get(field.name, type(field.default)) for field in fields}
