"""Public functions have docstrings and full annotations."""

import importlib
import inspect
import pkgutil

import pytest

import cpca_jax

MODULES = sorted(m.name for m in pkgutil.walk_packages(cpca_jax.__path__, "cpca_jax."))


def public(module):
    for name, thing in vars(module).items():
        own = getattr(thing, "__module__", None) == module.__name__
        if (
            own
            and not name.startswith("_")
            and (inspect.isfunction(thing) or inspect.isclass(thing))
        ):
            yield thing


@pytest.mark.parametrize("name", MODULES)
def test_public_things_are_documented_and_typed(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for thing in public(module):
        assert inspect.getdoc(thing), f"{name}.{thing.__name__} has no docstring"
        if inspect.isfunction(thing):
            signature = inspect.signature(inspect.unwrap(thing))
            for parameter in signature.parameters.values():
                assert parameter.annotation is not parameter.empty, f"{thing.__name__}({parameter})"
            assert signature.return_annotation is not signature.empty, thing.__name__


def test_names_that_scripts_and_notebooks_depend_on():
    from cpca_jax import models
    from cpca_jax.denoising import denoiser
    from cpca_jax.metrics import image, protocols
    from cpca_jax.objectives import penalties
    from cpca_jax.runs import checkpoints
    from cpca_jax.training import transfer

    for module, names in {
        models: ("build_generator", "build_critic", "MODELS", "CRITICS"),
        penalties: ("PENALTIES",),
        transfer: ("inflate",),
        image: ("psnr", "ssim"),
        protocols: ("PROTOCOLS",),
        denoiser: ("denoise_volume", "load_run"),
        checkpoints: ("restore_params",),
    }.items():
        for name in names:
            assert hasattr(module, name)
    assert list(inspect.signature(transfer.inflate).parameters) == [
        "source",
        "target_shapes",
        "rules",
        "fresh",
    ]
