"""Records that a program leaves for its next run: JSON objects beside what they describe."""

import json
from pathlib import Path
from typing import Any

from cpca_jax.errors import OutputError
from cpca_jax.runtime import circumstances
from cpca_jax.runtime.files import read_small


def read_record(path: Path) -> dict[str, Any] | None:
    """Return a record; None where it is missing or damaged, so that it is made again.

    Raises:
        OutputError: the system does not let it be read; to make it again would be work for nothing.
    """
    try:
        found = json.loads(read_small(path, error=OutputError))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        place = f"{path.parent.name}/{path.name}"
        raise OutputError(f"{place}: cannot be read: {circumstances.reason(error)}") from error
    except (ValueError, RecursionError, OutputError):
        return None
    return found if isinstance(found, dict) else None
