"""Low-dose CT denoising with CPCA: 2D training under WGAN-GP, transfer to 3D, evaluation.

Wherever code or documents say "the deck", they mean the slides of the talk that this project
repeats: Shan et al., "Transfer Learning for Low-Dose CT Denoising", 2017; its method was published
as CPCE in IEEE TMI 37(6), 2018.

The names of `__all__` are imported when they are first used; `cpca_jax.api` shows them at work.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpca_jax import configs, errors, metrics, models
    from cpca_jax.api import config, evaluate, make_phantoms, train
    from cpca_jax.data.collections import sources as collections
    from cpca_jax.denoising.denoiser import load_run
    from cpca_jax.metrics import protocols
    from cpca_jax.models import CRITICS as critics
    from cpca_jax.objectives import penalties
    from cpca_jax.objectives.losses import ADVERSARIAL as adversarial
    from cpca_jax.training import transfer
    from cpca_jax.training.transfer import INFLATIONS as inflations
    from cpca_jax.training.transfer import inflate

__version__ = "0.2.0"

__all__ = [
    "adversarial",
    "collections",
    "config",
    "configs",
    "critics",
    "errors",
    "evaluate",
    "inflate",
    "inflations",
    "load_run",
    "make_phantoms",
    "metrics",
    "models",
    "penalties",
    "protocols",
    "train",
    "transfer",
]

# The place of each name: a module, or "module:attribute".
_PLACES = {
    "adversarial": "cpca_jax.objectives.losses:ADVERSARIAL",
    "collections": "cpca_jax.data.collections.sources",
    "config": "cpca_jax.api:config",
    "configs": "cpca_jax.configs",
    "critics": "cpca_jax.models:CRITICS",
    "errors": "cpca_jax.errors",
    "evaluate": "cpca_jax.api:evaluate",
    "inflate": "cpca_jax.training.transfer:inflate",
    "inflations": "cpca_jax.training.transfer:INFLATIONS",
    "load_run": "cpca_jax.denoising.denoiser:load_run",
    "make_phantoms": "cpca_jax.api:make_phantoms",
    "metrics": "cpca_jax.metrics",
    "models": "cpca_jax.models",
    "penalties": "cpca_jax.objectives.penalties",
    "protocols": "cpca_jax.metrics.protocols",
    "train": "cpca_jax.api:train",
    "transfer": "cpca_jax.training.transfer",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
