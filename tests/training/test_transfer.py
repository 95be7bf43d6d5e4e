"""2D to 3D transfer: equality before fine-tuning, refusals, reports."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cpca_jax.errors import CheckpointError, ConfigError
from cpca_jax.models import build_generator
from cpca_jax.training import transfer
from cpca_jax.training.networks import new_player


def network(slices, key):
    module = build_generator("cpca", slices=slices, final_activation="none")
    return module, module.init(key, jnp.zeros((1, slices, 20, 20, 1)))["params"]


def shapes(slices):
    module = build_generator("cpca", slices=slices)
    key = jax.random.key(0)
    return jax.eval_shape(module.init, key, jnp.zeros((1, slices, 20, 20, 1)))["params"]


@pytest.mark.parametrize("slices", [3, 5, 7, 9])
def test_3d_equals_2d_on_the_centre_slice(slices, key):
    flat, params = network(1, key)
    deep = flat.clone(slices=slices)
    grown, report = transfer.inflate(params, shapes(slices))
    x = jax.random.normal(key, (2, slices + 2, 24, 21, 1))
    margin = slices // 2
    want = flat.apply({"params": params}, x)[:, margin:-margin]
    np.testing.assert_allclose(deep.apply({"params": grown}, x), want, atol=1e-5)
    assert report.inflated == tuple(f"conv{n}/kernel" for n in range(1, slices // 2 + 1))


@pytest.mark.parametrize("rule", ["average", "symmetric"])
def test_the_other_closed_forms_equal_2d_where_nothing_changes_along_z(rule, key):
    flat, params = network(1, key)
    grown, _ = transfer.inflate(params, shapes(5), rules=((".*", rule),))
    x = jnp.broadcast_to(jax.random.normal(key, (1, 1, 20, 20, 1)), (1, 5, 20, 20, 1))
    want = flat.apply({"params": params}, x[:, :1])
    np.testing.assert_allclose(flat.clone(slices=5).apply({"params": grown}, x), want, atol=1e-5)


@pytest.mark.parametrize("rule", transfer.INFLATIONS)
def test_every_rule_keeps_the_sum_over_z_and_is_symmetric(rule, key):
    kernel = jax.random.normal(key, (3, 3, 2, 4))
    grown = transfer.INFLATIONS[rule](kernel, 5)
    assert grown.shape == (5, 3, 3, 2, 4)
    np.testing.assert_allclose(grown.sum(axis=0), kernel, atol=1e-6)
    np.testing.assert_array_equal(grown, grown[::-1])


def test_centre_is_0_h_0_on_the_leading_axis(key):
    kernel = jax.random.normal(key, (3, 3, 2, 4))
    grown = transfer.centre(kernel, 3)
    np.testing.assert_array_equal(grown[1], kernel)
    np.testing.assert_array_equal(grown[::2], 0.0)


def test_2d_to_4d_grows_two_axes(key):
    kernel = jax.random.normal(key, (3, 3, 2, 4))
    target = {"a": {"kernel": jax.ShapeDtypeStruct((5, 3, 3, 3, 2, 4), jnp.float32)}}
    grown, _ = transfer.inflate({"a": {"kernel": kernel}}, target)
    np.testing.assert_array_equal(grown["a"]["kernel"][2, 1], kernel)
    assert float(jnp.abs(grown["a"]["kernel"]).sum()) == pytest.approx(float(jnp.abs(kernel).sum()))


def test_a_wrong_tree_is_refused_with_all_names_and_shapes(key):
    _, params = network(1, key)
    wrong = jax.tree.map(lambda leaf: leaf, params)
    wrong["conv2"] = {"kernel": jnp.zeros((3, 3, 32, 16))}
    wrong["merge9"] = wrong.pop("merge5")
    with pytest.raises(CheckpointError) as error:
        transfer.inflate(wrong, shapes(3))
    for said in (
        "conv2/kernel: source (3, 3, 32, 16), target (3, 3, 32, 32)",
        "merge5/kernel: not in the source",
        "merge9/kernel: not in the target",
    ):
        assert said in str(error.value)


def test_a_kernel_is_never_grown_along_another_axis():
    """A change from (3, 3, 1, 32) to (3, 3, 3, 32) lacks no leading axis, and is refused."""
    source = {"kernel": jnp.zeros((3, 3, 1, 32))}
    for shape in [(3, 3, 3, 32), (3, 3, 3, 1, 16), (3, 1, 3, 1, 32)]:
        with pytest.raises(CheckpointError, match="kernel"):
            transfer.inflate(source, {"kernel": jax.ShapeDtypeStruct(shape, jnp.float32)})


def test_fresh_leaves_come_from_the_fresh_tree(key):
    _, params = network(1, key)
    _, new = network(3, jax.random.fold_in(key, 1))
    rules = (("conv1/.*", "fresh"), (".*", "centre"))
    grown, report = transfer.inflate(params, shapes(3), rules=rules, fresh=new)
    np.testing.assert_array_equal(grown["conv1"]["kernel"], new["conv1"]["kernel"])
    np.testing.assert_array_equal(grown["conv2"]["kernel"], params["conv2"]["kernel"])
    assert report.fresh == ("conv1/kernel",)
    assert "fresh: conv1/kernel" in str(report)


def test_rules_must_be_known_and_cover_every_leaf(key):
    _, params = network(1, key)
    with pytest.raises(ConfigError, match=r"'middle' is not one of"):
        transfer.inflate(params, shapes(3), rules=((".*", "middle"),))
    with pytest.raises(ConfigError, match=r"no transfer rule covers the parameter conv2/kernel"):
        transfer.inflate(params, shapes(3), rules=(("conv1/.*", "centre"),))
    with pytest.raises(ConfigError, match="no fresh parameters"):
        transfer.inflate(params, shapes(3), rules=((".*", "fresh"),))


def test_numpy_leaves_will_do_and_dtypes_are_the_targets(key):
    _, params = network(1, key)
    grown, _ = transfer.inflate(jax.tree.map(np.asarray, params), shapes(3))
    assert {leaf.dtype for leaf in jax.tree.leaves(grown)} == {jnp.dtype("float32")}


def test_a_player_carries_adams_moments(key):
    _, params = network(1, key)
    _, deep = network(3, key)
    adam = optax.scale_by_adam()
    _, moments = adam.update(jax.tree.map(jnp.ones_like, params), adam.init(params))
    player = new_player(params, adam).replace(opt_state=moments)
    fresh = new_player(deep, adam)
    carried, _ = transfer.inflate_player(player, fresh)
    assert int(carried.opt_state.count) == 1
    np.testing.assert_allclose(carried.opt_state.mu["conv1"]["kernel"][1], 0.1, rtol=1e-5)
    np.testing.assert_array_equal(carried.opt_state.mu["conv1"]["kernel"][::2], 0.0)
    dropped, _ = transfer.inflate_player(player, fresh, optimizer=False)
    assert int(dropped.opt_state.count) == 0
    np.testing.assert_array_equal(
        dropped.params["conv1"]["kernel"], carried.params["conv1"]["kernel"]
    )
