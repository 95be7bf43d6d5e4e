"""Runs of version 0.1 are read as if they had always had today's form."""

import json

import numpy as np
import pytest
import tiny

from cpca_jax.runs import config, older


def test_moments_leave_the_parameters_and_keep_their_layer():
    norm = {"scale": 1, "bias": 2, "mean": 3, "variance": 4}
    params = {"stage1": {"conv1": {"kernel": 5, "bias": 6}, "norm2": norm}}
    own, moments = older.moments_apart(params)
    assert own == {"stage1": {"conv1": {"kernel": 5, "bias": 6}, "norm2": {"scale": 1, "bias": 2}}}
    assert moments == {"stage1": {"norm2": {"mean": 3, "var": 4}}}


def test_a_parameter_called_mean_in_another_layer_stays():
    params = {"own": {"mean": 1, "kernel": 2}}
    assert older.moments_apart(params) == (params, {})


def test_adams_state_gets_the_name_of_its_rule_and_loses_moments():
    norm = {"scale": 1, "bias": 2, "mean": 3, "variance": 4}
    state = {"count": np.int32(7), "mu": {"norm1": norm}, "nu": {"norm1": norm}}
    kept = {"norm1": {"scale": 1, "bias": 2}}
    assert older.named_rules(state) == {"adam": {"count": 7, "mu": kept, "nu": kept}}
    assert older.named_rules({"adam": 1}) == {"adam": 1}


@pytest.mark.parametrize("name", ["cascade", "cpca"])
def test_a_cascades_settings_move_into_its_own_fields(tmp_path, name):
    written = json.loads(config.to_json(tiny.configuration(tmp_path, model__name=name)))
    written["train"]["stages"] = 1
    written["data"]["hardest"] = 0.25 if name == "cascade" else 1.0
    fields = config.parse(written).model.fields
    assert fields.get("hardest") == (0.25 if name == "cascade" else None)
