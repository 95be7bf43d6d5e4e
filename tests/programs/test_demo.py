"""The demo's order; that it runs as a whole is a step of CI."""

from types import SimpleNamespace

import pytest

from cpca_jax.errors import StoppedError
from cpca_jax.preparation import prepare
from cpca_jax.programs import demo
from cpca_jax.training import cascade


def test_a_stop_ends_the_demo(tmp_path, monkeypatch):
    """Else CPCA-3 would start from half a CPCA-1."""
    trained = []

    def train(experiment, folder):
        trained.append(folder.name)
        return SimpleNamespace(step=3)

    monkeypatch.setattr(cascade, "train", train)
    monkeypatch.setattr(prepare, "prepare_phantoms", lambda *given, **named: None)
    with pytest.raises(StoppedError, match="CPCA-1: stopped at step 3"):
        demo.run(tmp_path)
    assert trained == ["CPCA-1"]
