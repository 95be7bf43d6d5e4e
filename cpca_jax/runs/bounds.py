"""The documentation of a configuration field: meaning, source of its default, allowed values."""

import dataclasses
from typing import Any

from cpca_jax.values import Bound

_KEY = "setting"


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
