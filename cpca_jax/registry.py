"""Tables of variants by name; a user's own module can add rows (`--plugin`, docs/extending.md)."""

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from cpca_jax.errors import ConfigError

Row = TypeVar("Row")


class Registry(Mapping[str, Row], Generic[Row]):
    """Rows of one kind by name, in the order in which they were registered.

    A built-in row may be given as "module:attribute". It is then imported when it is first looked
    up, so that a program which uses one row does not pay for the others.
    """

    def __init__(self, kind: str, rows: Mapping[str, Row | str]) -> None:
        """Start with the built-in rows.

        Args:
            kind: the noun for messages, such as "penalty".
            rows: the rows by name, or their places as "module:attribute".
        """
        self.kind = kind
        self._rows: dict[str, Row | str] = dict(rows)

    def register(self, name: str, row: Row) -> None:
        """Add a row.

        Raises:
            ConfigError: the name is taken, or has characters other than letters, digits, "_", "-".
        """
        if not name.replace("_", "").replace("-", "").isalnum():
            raise ConfigError(
                f"{self.kind} '{name}': the name must consist of letters, digits, '_' and '-'"
            )
        if name in self._rows and self._rows[name] is not row:
            raise ConfigError(f"{self.kind} '{name}' exists already; register it by another name")
        self._rows[name] = row

    def pick(self, name: str, key: str) -> Row:
        """Return a row by the name that a configuration or a flag gives.

        Args:
            name: the name of the row.
            key: the configuration key or flag that gave the name, such as "config.loss.penalty"
                or "--protocol".

        Raises:
            ConfigError: no such row; the message names the key, the rows and the nearest one.
        """
        return pick(self, name, key)

    def __getitem__(self, name: str) -> Row:
        row = self._rows[name]
        if isinstance(row, str):
            module, _, attribute = row.partition(":")
            found: Row = getattr(importlib.import_module(module), attribute)
            self._rows[name] = found
            return found
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows


def pick(table: Mapping[str, Row], name: str, key: str) -> Row:
    """Return a row of any table, or refuse the name as `Registry.pick` does.

    Raises:
        ConfigError: no such row; the message names the key, the rows and the nearest one.
    """
    if name not in table:
        raise ConfigError(f"{key}: '{name}' is not one of {', '.join(table)}{near(name, table)}")
    return table[name]


def near(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'NAME'?" for the known name that is most like this one, or ""."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{found[0]}'?" if found else ""
