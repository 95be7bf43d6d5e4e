"""Counted work against closed formulas, fair turns, and tables. No test looks at a duration."""

import subprocess

import jax
import jax.numpy as jnp
import pytest
from conftest import CHECKOUT

from benchmarks.measuring import environment, tables, timing
from benchmarks.measuring.precisions import FLOAT32
from benchmarks.measuring.roofline import Ceilings, Limit
from benchmarks.measuring.timing import Patience, Times
from benchmarks.measuring.work import Work, count
from cpca_jax.layers.conv2d import conv2d, same_pads

pytestmark = pytest.mark.slow


def shape(*sizes_, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes_, dtype)


def test_a_convolution_counts_two_for_every_product_of_two_numbers():
    work = count(conv2d, shape(2, 10, 12, 4), shape(3, 3, 4, 8))
    assert work.flops == 2 * (2 * 8 * 10 * 8) * (3 * 3 * 4)
    assert work.multiply_adds == work.flops // 2
    assert work.bytes == 4 * (2 * 10 * 12 * 4 + 3 * 3 * 4 * 8 + 2 * 8 * 10 * 8)


def test_zeros_of_the_padding_are_not_counted():
    padded = count(
        lambda x, k: conv2d(x, k, pads=((1, 1), (1, 1))), shape(1, 8, 8, 1), shape(3, 3, 1, 1)
    )
    assert padded.flops == 2 * (3 * 8 - 2) ** 2


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_and_its_adjoints_count_the_same(stride):
    pads = same_pads((16, 16), (3, 3), stride)

    def loss(x, kernel, g):
        return jnp.sum(g * conv2d(x, kernel, stride=stride, pads=pads))

    x, kernel, g = shape(2, 16, 16, 4), shape(3, 3, 4, 8), shape(2, 16 // stride, 16 // stride, 8)
    forward = count(loss, x, kernel, g).flops
    assert count(jax.grad(loss, argnums=0), x, kernel, g).flops == forward
    assert count(jax.grad(loss, argnums=1), x, kernel, g).flops == forward
    assert count(jax.grad(loss, argnums=(0, 1)), x, kernel, g).flops == 2 * forward


def test_matrix_products_loops_and_branches():
    a, b = shape(5, 3, 7), shape(5, 7, 2)
    once = count(jnp.matmul, a, b)
    assert once.flops == 2 * 5 * 3 * 7 * 2

    def looped(a, b):
        return jax.lax.scan(lambda carry, _: (carry + (a @ b).sum(), None), 0.0, length=4)[0]

    assert count(looped, a, b) == once * 4

    def branched(a, b):
        total, largest = (lambda a, b: (a @ b).sum()), (lambda a, b: (a @ b).max())
        return jax.lax.cond(a[0, 0, 0] > 0, total, largest, a, b)

    assert count(branched, a, b) == once
    assert count(jax.jit(jnp.matmul), a, b) == once
    with pytest.raises(ValueError, match="unknown length"):
        count(
            lambda a, b: jax.lax.while_loop(lambda s: s < 9, lambda s: s + (a @ b).sum(), 0.0), a, b
        )


def test_work_that_the_result_does_not_depend_on_is_not_counted():
    def wasteful(a, b):
        inner = jax.jit(lambda a, b, unused: (a @ b @ unused, a @ b))
        return inner(a, b, a @ b @ b)[1]

    square = shape(6, 6)
    assert count(wasteful, square, square) == count(jnp.matmul, square, square)


def test_limits_take_the_slower_of_arithmetic_and_memory():
    found = Ceilings({FLOAT32: {"slow": 10.0, "fast": 100.0}}, bytes_per_second=50.0, rows=())
    assert found.limit(Work(flops=200, bytes=50), FLOAT32) == Limit(2.0, "arithmetic")
    assert found.limit(Work(flops=200, bytes=250), FLOAT32) == Limit(5.0, "memory")


def test_contestants_take_turns_after_a_warm_up(monkeypatch):
    monkeypatch.setattr(timing, "_LEAST_SECONDS", 0.0)
    order = []
    times = timing.alternate(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, Patience(4, 60.0)
    )
    assert "".join(order) == "aabb" + "abababab"
    assert {name: len(t.seconds) for name, t in times.items()} == {"a": 4, "b": 4}


def test_quick_calls_are_measured_together():
    calls = []
    timing.alternate({"quick": lambda: calls.append(1)}, Patience(1, 60.0))
    assert len(calls) > 100


def test_without_a_warm_up_each_round_is_one_call():
    calls = []
    timing.alternate({"cold": lambda: calls.append(1)}, Patience(2, 60.0), warm=False)
    assert len(calls) == 2


def test_out_of_patience_after_three_rounds():
    times = timing.alternate({"a": lambda: None}, Patience(50, 0.0), warm=False)["a"]
    assert len(times.seconds) == 3


def test_times():
    times = Times((3.0, 1.0, 2.0))
    assert (times.median, times.least, times.most) == (2.0, 1.0, 3.0)
    assert times.per(2).seconds == (1.5, 0.5, 1.0)
    assert times.as_json() == {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": 3}


ROWS = [
    {"name": "a", "seconds": Times((2.0, 1.0, 4.0)), "count": 1},
    {"name": "bb", "seconds": None, "more": 123.456},
]


def test_a_table_shows_spread_and_gaps():
    lines = tables.render(ROWS).splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == [
        "name",
        "seconds",
        "count",
        "more",
    ]
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["a", "2 (1 - 4)", "1", "-"]
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == ["bb", "-", "-", "123"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (0.01234, "0.0123"), (1234.5, "1234"), (2e-6, "2.00e-06")]
)
def test_numbers_have_three_digits(value, shown):
    assert tables.number(value) == shown


def test_json_has_every_column_in_every_row():
    first, second = tables.as_json(ROWS)
    assert set(first) == set(second) == {"name", "seconds", "count", "more"}
    assert first["seconds"]["median"] == 2.0
    assert second["seconds"] is None


def test_the_machine_says_what_was_promised():
    described = environment.describe(None, memory_kept=True)
    wanted = {"backend", "device", "devices", "cores", "load_average", "python", "jax", "jaxlib"}
    assert set(described) == wanted | {"freed memory", "torch", "commit", "date"}
    assert described["jax"] == jax.__version__
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert described["commit"].split("+")[0] == (head.stdout[:12] or "not under git")
    assert environment.describe("abc", memory_kept=False)["commit"] == "abc"
