"""Plug-ins: a user's files or importable modules, which register rows when they are loaded."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from cpca_jax.errors import InputError
from cpca_jax.runtime import circumstances

# Files that are loaded already, with the digest of their source: a row can be registered only once.
_LOADED: dict[Path, str] = {}


def load(names: Sequence[str]) -> tuple[str, ...]:
    """Import each plug-in, only once in a process.

    Args:
        names: paths of files that end in ".py", or names of modules that can be imported.

    Returns:
        The names to record in a run: a file's name without its folder, a module's name as it is.

    Raises:
        InputError: a plug-in is missing or raises; the message names it.
    """
    return tuple(_load(name) for name in names)


def _load(name: str) -> str:
    path = Path(name)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise InputError(f"--plugin: {path.name}: no such file")
    try:
        if not is_file:
            source = importlib.import_module(name).__file__
            # A module without a file of its own, such as one in an archive, is known by name alone.
            if source is not None and Path(source).is_file():
                _remember(Path(source))
        elif path.resolve() not in _LOADED:
            import_file(path)
            _remember(path)
    # A plug-in is somebody else's program and may raise anything or call sys.exit.
    except (Exception, SystemExit) as error:
        said = circumstances.sentence(error) or f"{type(error).__name__}: {error}"
        raise InputError(f"--plugin: {path.name}: {said}") from error
    return path.name if is_file else name


def _remember(path: Path) -> None:
    _LOADED.setdefault(path.resolve(), hashlib.sha256(path.read_bytes()).hexdigest())


def source_digest() -> str:
    """Return the digest of the sources of all loaded plug-ins in any order; "" without any.

    The modules that a plug-in imports in its turn are not part of it.
    """
    digests = sorted(_LOADED.values())
    return hashlib.sha256(" ".join(digests).encode()).hexdigest() if digests else ""


def import_file(path: Path) -> ModuleType:
    """Execute a Python file from any folder as a module named after it.

    Raises:
        OSError: the file cannot be read.
        Exception: any error that the file raises.
    """
    path = path.resolve()
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{digest}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their own module here while it is being executed.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
