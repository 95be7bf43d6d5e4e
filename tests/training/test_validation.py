"""Validation in training: the same numbers as an evaluation, and nothing computed twice."""

import jax
import numpy as np
import pytest
import tiny

from cpca_jax.data.store.reader import open_store
from cpca_jax.denoising.denoiser import Denoiser
from cpca_jax.evaluation import scoring
from cpca_jax.evaluation.scoring import evaluate_series, mean_scores, middle
from cpca_jax.metrics import METRICS
from cpca_jax.training import validation
from cpca_jax.training.experiment import assemble
from cpca_jax.training.networks import create_state
from cpca_jax.training.validation import Validation


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    splits = ("train", "validation", "validation", "test")
    return tiny.write_store(tmp_path_factory.mktemp("validation") / "store", splits)


def parts_and_params(store, **changes):
    parts = assemble(tiny.configuration(store, **changes))
    return parts, create_state(
        parts.networks, parts.objective.optimisers, jax.random.key(0)
    ).generator


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("count", [1, 4, 0])
def test_equals_an_evaluation_of_the_same_slices(store, slices, count):
    parts, params = parts_and_params(
        store, model__slices=slices, train__validation_slices=count, evaluation__batch=3
    )
    found = Validation(parts).scores(params)
    model = Denoiser("model", parts.networks.generator, params.params, parts.window)
    rows = [
        row
        for series in open_store(store).split("validation")
        for some, _ in evaluate_series(
            [model], series, parts.protocol, parts.features, chosen=middle(series, -(-count // 2))
        )
        for row in some
    ]
    expected = mean_scores(rows)
    assert len(rows) == 2 * {1: 2, 4: 4, 0: 14}[count]
    for metric in METRICS:
        assert found[metric] == pytest.approx(expected["model"][metric], rel=2e-5, abs=1e-3)
        low = expected["low dose"][metric]
        assert found[f"low_{metric}"] == pytest.approx(low, rel=2e-5, abs=1e-3)


def test_full_and_low_dose_go_through_the_feature_network_once(store, monkeypatch):
    parts, params = parts_and_params(store, train__validation_slices=2)
    calls = {"targets": 0, "scores": 0}

    def counted(name, function):
        def call(*args, **named):
            calls[name] += 1
            return function(*args, **named)

        return call

    monkeypatch.setattr(validation, "make_target", counted("targets", scoring.make_target))
    monkeypatch.setattr(validation, "score_slices", counted("scores", scoring.score_slices))
    ours = Validation(parts)
    first = ours.scores(params)
    assert calls == {"targets": 2, "scores": 4}
    second = ours.scores(jax.tree.map(lambda leaf: 0.5 * leaf, params))
    assert calls == {"targets": 2, "scores": 6}
    assert second["low_psnr"] == first["low_psnr"]
    assert second["psnr"] != first["psnr"]


def test_features_beyond_the_limit_are_computed_again(store, monkeypatch):
    parts, params = parts_and_params(store, train__validation_slices=2)
    kept = Validation(parts).scores(params)
    monkeypatch.setattr(validation, "_MOST_KEPT", 0)
    ours = Validation(parts)
    assert ours.scores(params) == kept
    assert ours.scores(params) == kept
    assert all(np.isfinite(value) for value in kept.values())
