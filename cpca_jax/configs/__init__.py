"""Built-in experiments by name; a user's own is a file anywhere with a `get_config` of its own.

The files themselves lie in the checkout's folder `configs`, where users change them, and beside
this one in an installed package.
"""

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from cpca_jax.errors import ConfigError, InputError
from cpca_jax.registry import near
from cpca_jax.runtime import circumstances, plugins

if TYPE_CHECKING:  # checkers do not follow a path that is extended

    def __getattr__(name: str) -> Any: ...


_HERE = Path(__file__).resolve().parent
if not (_HERE / "base.py").exists():
    __path__.append(str(_HERE.parent.parent / "configs"))

# A file or a name, and what is behind the colon; the colon of a drive is none.
_CHOICE = re.compile(r"(?P<name>.+?\.py|[^:/\\]+)(?::(?P<variant>.*))?")
_NO_EXPERIMENTS = ("__init__", "base")


def summaries() -> dict[str, str]:
    """Return the first line of each built-in experiment's file by name, without importing it."""
    files = sorted(path for folder in __path__ for path in Path(folder).glob("*.py"))
    texts = {path.stem: ast.get_docstring(ast.parse(path.read_text("utf-8"))) for path in files}
    return {
        name: (text or "").partition("\n")[0]
        for name, text in texts.items()
        if name not in _NO_EXPERIMENTS
    }


def load(choice: str) -> ConfigDict:
    """Return the configuration of an experiment.

    Args:
        choice: the name of a built-in experiment or the path of a file that ends in ".py", and
            perhaps a variant of it behind a colon: "cpca3_transfer:cpu".

    Raises:
        ConfigError: no such experiment, file or variant, or a file that raises.
    """
    match = _CHOICE.fullmatch(choice)
    if match is None:
        raise ConfigError(f"--config: '{choice}' must be NAME, NAME:VARIANT or a file, FILE.py")
    try:
        get_config = _module(match["name"]).get_config
        config = _call(get_config, choice, match["variant"])
    except InputError:
        raise
    except Exception as error:  # the file is a program of somebody else's
        said = circumstances.sentence(error) or f"{type(error).__name__}: {error}"
        raise ConfigError(f"--config: {choice}: {said}") from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"--config: {choice}: get_config must return a ConfigDict")
    return config


def _module(name: str) -> ModuleType:
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise ConfigError(f"--config: {name}: no such file")
        return plugins.import_file(Path(name))
    known = summaries()
    if name not in known:
        raise ConfigError(
            f"--config: '{name}' is not a built-in experiment; there are {', '.join(known)}"
            f"{near(name, known)}; a file of your own ends in .py"
        )
    return importlib.import_module(f"{__name__}.{name}")


def _call(get_config: Any, choice: str, variant: str | None) -> Any:
    if variant is None:
        return get_config()
    if not inspect.signature(get_config).parameters:
        raise ConfigError(f"--config: {choice}: this experiment has no variants")
    return get_config(variant)
