"""The order of the demo, which CI also runs as a whole."""

import pytest

from cpca_jax.errors import StoppedError
from cpca_jax.preparation import prepare
from cpca_jax.programs import demo
from cpca_jax.training import procedures


def test_a_stop_ends_the_demo(tmp_path, monkeypatch):
    """Otherwise CPCA-3 would start from a half-trained CPCA-1."""
    trained = []

    def train(experiment, folder):
        trained.append(folder.name)
        raise StoppedError(f"{folder.name}: stopped at step 3")

    monkeypatch.setattr(procedures, "train", train)
    monkeypatch.setattr(prepare, "prepare_phantoms", lambda *given, **named: None)
    with pytest.raises(StoppedError, match="CPCA-1: stopped at step 3"):
        demo.run(tmp_path)
    assert trained == ["CPCA-1"]


@pytest.mark.parametrize(
    ("called", "said"), [("demo.py", "python train.py --config demo"), ("cpca demo", "cpca train ")]
)
def test_commands_are_those_of_the_place_it_was_called_from(monkeypatch, capsys, called, said):
    monkeypatch.setattr("sys.argv", [called])
    demo._stage(2, "training", "train --config demo --workdir x")
    assert said in capsys.readouterr().out
