"""The benchmarks: counts against closed formulas, fair turns, what results hold, and that each runs.

No test here looks at how long anything takes.
"""

import argparse
import ast
import contextlib
import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CHECKOUT

from benchmarks import (
    limits,
    machine,
    peers,
    run_all,
    script,
    session,
    sizes,
    subjects,
    table,
    timing,
    training_step,
)
from benchmarks.counting import Work, count
from benchmarks.sizes import BFLOAT16, FLOAT32, StepCase
from benchmarks.timing import Patience, Times
from cpca_jax.layers.conv2d import conv2d, same_pads

SCRIPTS = list(run_all.ALL)
COMMON = {"benchmark", "machine", "seconds", "ceilings", "rows", "notes"}


def shape(*sizes_, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes_, dtype)


# Counting


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


def test_what_the_answer_does_not_hang_on_is_not_counted():
    def wasteful(a, b):
        inner = jax.jit(lambda a, b, unused: (a @ b @ unused, a @ b))
        return inner(a, b, a @ b @ b)[1]

    square = shape(6, 6)
    assert count(wasteful, square, square) == count(jnp.matmul, square, square)


def test_bfloat16_moves_half_of_the_bytes():
    """As defined; a CPU sums in float32 (see `convolution_forms`)."""
    exact, rounded = (
        count(of.networks.denoise, of.shapes().generator.params, shape(1, 1, 32, 32, 1))
        for of in (subjects.subject(sizes.TINY, StepCase(1, 1, p)) for p in (FLOAT32, BFLOAT16))
    )
    assert (rounded.flops, 2 * rounded.bytes) == (exact.flops, exact.bytes)


def test_a_training_step_in_bfloat16_can_be_traced():
    of = subjects.subject(sizes.TINY, StepCase(1, 1, BFLOAT16))
    work = subjects.step_work(of, of.batches(np.random.default_rng(0)))
    assert work.flops > 0


# G multiply-accumulates of a 512x512 slice, each layer taken to give 512x512 maps: separate windows,
# and slabs with each 3D layer once per slice. The network is unpadded, which saves two per cent.
BY_DEPTH = {1: (16.3, 16.3), 3: (16.4, 16.4), 5: (21.7, 21.2), 7: (41.5, 26.1), 9: (75.7, 30.9)}


@pytest.mark.parametrize("slices", BY_DEPTH)
def test_cpca_counts_what_it_is_known_to_take(slices):
    networks = subjects.subject(sizes.CPU, StepCase(1), slices=slices).networks
    params = jax.eval_shape(
        networks.generator.init, jax.random.key(0), jnp.ones((1, slices, 32, 32, 1))
    )
    window, slab = (
        count(networks.denoise, params["params"], shape(1, slices - 1 + centres, 512, 512, 1))
        // centres
        for centres in (1, 200)
    )
    windows, slabs = BY_DEPTH[slices]
    assert window.multiply_adds / 1e9 == pytest.approx(windows, rel=0.025)
    assert slab.multiply_adds / 1e9 == pytest.approx(slabs, rel=0.025)


def test_cpca1_layer_by_layer():
    networks = subjects.subject(sizes.CPU, StepCase(1)).networks
    params = jax.eval_shape(networks.generator.init, jax.random.key(0), jnp.ones((1, 1, 32, 32, 1)))
    convolutions = 9 * (32 * 510**2 + 1024 * (508**2 + 506**2 + 504**2))
    # Each pixel paints the kernel: a deconvolution multiplies as often as it has inputs.
    deconvolutions = 9 * (1024 * (504**2 + 506**2 + 508**2) + 32 * 510**2)
    merges = 64 * 32 * (506**2 + 508**2 + 510**2)
    work = count(networks.denoise, params["params"], shape(1, 1, 512, 512, 1))
    assert work.multiply_adds == convolutions + deconvolutions + merges


def critic_flops():
    """Of one score, layer by layer; and of the first layer alone."""
    maps, edge, layers = [1, 64, 64, 128, 128, 256, 256], 64, []
    for layer in range(6):
        stride = 1 + layer % 2
        taps = 3 * (edge // stride) - (2 if stride == 1 else 1)
        layers.append(2 * taps**2 * maps[layer] * maps[layer + 1])
        edge //= stride
    return sum(layers) + 2 * (edge**2 * 256 * 1024 + 1024), layers[0]


def test_a_critic_update_is_ten_scores():
    """Gradient at real and fake: three each, but for the first layer's images. Penalty: four.

    A leaky ReLU bends nowhere, so that the penalty's gradient goes through the gradient only and not
    through the scores.
    """
    of = subjects.subject(sizes.CPU, StepCase(1, critic_steps=1))
    generator = count(
        of.networks.denoise, of.shapes().generator.params, shape(1, 1, 64, 64, 1)
    ).flops
    more = [
        subjects.step_work(chosen, chosen.batches(np.random.default_rng(0))).flops
        for chosen in (subjects.subject(sizes.CPU, StepCase(1, critic_steps=n)) for n in (1, 3))
    ]
    score, first = critic_flops()
    assert (more[1] - more[0]) / 2 == pytest.approx(generator + 10 * score - 2 * first, rel=1e-3)


def test_limits_take_the_slower_of_arithmetic_and_memory():
    found = limits.Ceilings(
        {FLOAT32: {"slow": 10.0, "fast": 100.0}}, bytes_per_second=50.0, rows=()
    )
    assert found.limit(Work(flops=200, bytes=50), FLOAT32) == limits.Limit(2.0, "arithmetic")
    assert found.limit(Work(flops=200, bytes=250), FLOAT32) == limits.Limit(5.0, "memory")


# Turns


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


# Tables and files

ROWS = [
    {"name": "a", "seconds": Times((2.0, 1.0, 4.0)), "count": 1},
    {"name": "bb", "seconds": None, "more": 123.456},
]


def test_a_table_shows_spread_and_gaps():
    lines = table.render(ROWS).splitlines()
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
    assert table.number(value) == shown


def test_json_has_every_column_in_every_row():
    first, second = table.as_json(ROWS)
    assert set(first) == set(second) == {"name", "seconds", "count", "more"}
    assert first["seconds"]["median"] == 2.0
    assert second["seconds"] is None


def test_json_without_numbers_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        script.write(tmp_path / "a.json", {"ratio": float("nan")})


def test_the_machine_says_what_was_promised():
    described = machine.describe(None, memory_kept=True)
    wanted = {"backend", "device", "devices", "cores", "load_average", "python", "jax", "jaxlib"}
    assert set(described) == wanted | {"freed memory", "torch", "commit", "date"}
    assert described["jax"] == jax.__version__
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert described["commit"].split("+")[0] == (head.stdout[:12] or "not under git")
    assert machine.describe("abc", memory_kept=False)["commit"] == "abc"
    found = {"device": "NVIDIA H100 80GB HBM3", "date": "2026-01-31T10:00:00+00:00"}
    name = "nvidia-h100-80gb-hbm3-2026-01-31"
    assert machine.file_name(found | {"freed memory": "kept"}) == name
    assert machine.file_name(found | {"freed memory": "given back"}) == f"{name}-memory-given-back"


# Every script


@pytest.fixture(scope="module")
def tiny():
    """One session for all, as in run_all, without PyTorch whether it is installed or not."""
    made = session.Session(sizes.TINY)
    made.peers = ()
    return made


@pytest.fixture
def results(tiny, request):
    name = request.param
    return name, tiny.result(name, run_all.ALL[name][0])


@pytest.mark.parametrize("results", SCRIPTS, indirect=True)
def test_each_script_runs(results):
    name, result = results
    assert set(result) == COMMON
    assert result["benchmark"] == name
    assert result["rows"]
    json.dumps(result, allow_nan=False)
    columns = result["rows"][0]
    for row in result["rows"]:
        assert set(row) == set(columns)
    for told in TOLD[name]:
        assert all(positive(row[told]) for row in result["rows"]), told


def positive(value):
    return (value["min"] if isinstance(value, dict) else value) > 0


# What each table must say in every row.
TOLD = {
    "ceilings": ("seconds",),
    "training_step": ("JAX s", "GFLOP", "limit s", "share of limit", "JAX patches/s"),
    "inference": ("JAX s", "GFLOP", "limit s", "share of limit"),
    "patches": ("seconds a step's", "patches/s", "training step s", "share of a step"),
    "denoise_series": ("slices/s", "series s", "reading s", "network s", "writing s", "program s"),
    "compiling": ("tracing s", "compiling s", "process s"),
    "simulation": ("seconds", "seconds a slice"),
}


def test_a_script_prints_and_writes(tmp_path, monkeypatch, capsys):
    path = tmp_path / "deep" / "found.json"
    monkeypatch.setattr(
        sys, "argv", ["x", "--size", "tiny", "--commit", "abc", "--json", str(path)]
    )
    script.run("x", lambda s: [{"edge": s.sizes.edge}])
    written = json.loads(path.read_text())
    assert set(written) == COMMON | {"size"}
    assert (written["rows"], written["machine"]["commit"]) == ([{"edge": 32}], "abc")
    assert "| edge |" in capsys.readouterr().out


def test_run_all_keeps_what_it_has_and_names_what_it_lacks(tmp_path, monkeypatch):
    def broken(made):
        raise RuntimeError("out of order")

    def slow(made):
        return [{"case": case} for case in made.in_time([1, 2])]

    chosen = {"broken": (broken, 0.5), "slow": (slow, 0.5)}
    monkeypatch.setattr(run_all, "ALL", chosen)
    path = tmp_path / "all.json"
    monkeypatch.setattr(
        sys, "argv", ["run_all", "--size", "tiny", "--json", str(path), "--minutes", "0"]
    )
    with pytest.raises(SystemExit, match="failed: broken"):
        run_all.main()
    written = json.loads(path.read_text())
    assert written["benchmarks"]["broken"]["failed"] == "RuntimeError: out of order"
    assert written["benchmarks"]["slow"]["rows"] == []
    assert [note for note in written["notes"] if "left out" in note] == [
        f"left out, the time was over: {case}" for case in (1, 2)
    ]


def test_sizes_fit_the_device():
    assert sizes.chosen("tiny", "gpu") is sizes.TINY
    assert sizes.chosen("usual", "cpu").steps[0] == StepCase(16)
    on_gpu = sizes.chosen("usual", "gpu")
    assert {case.batch for case in on_gpu.steps} == {16, 64, 128}
    assert sum(share for _, share in run_all.ALL.values()) == pytest.approx(1.0)


# Peers


class Mirror:
    """A peer that computes with JAX; `off` spoils its answers by that factor."""

    name = "mirror"

    def __init__(self, off=1.0):
        self.off = off

    def exactly(self):
        return contextlib.nullcontext()

    def layout(self, params):
        return peers.by_name(params)

    def training(self, subject, start, batches, *, precision):
        return MirrorTraining(self, subject, start, batches)


class MirrorTraining:
    def __init__(self, peer, subject, start, batches):
        self.peer, self.subject, self.start, self.batches = peer, subject, start, batches

    def __call__(self):
        pass

    def first_step(self, shares):
        step = subjects.train_step(self.subject)
        start = jax.tree.map(jnp.array, self.start)  # ours gives its state away, too
        after, scalars = step(
            start, self.batches, self.subject.features.params, subjects.step_key()
        )
        kept = 1 - self.subject.objective.optim.beta1
        moments = {p: getattr(after, p).opt_state["adam"].mu for p in ("critic", "generator")}
        gradients = {
            player: peers.by_name(jax.tree.map(lambda m: self.peer.off * m / kept, moment))
            for player, moment in moments.items()
        }
        return peers.FirstStep({name: float(scalars[name]) for name in scalars}, gradients)


def test_a_peer_that_agrees_has_its_column(tiny):
    made = dataclasses.replace(tiny, notes=[])
    made.ceilings, made.peers = tiny.ceilings, [Mirror()]
    (row,) = training_step.measure(made)
    assert isinstance(row["mirror s"], Times)
    assert row["mirror / JAX"] == row["mirror s"].median / row["JAX s"].median
    assert not made.notes


def test_without_a_peer_its_columns_are_empty(tiny):
    times = {session.JAX: Times((1.0,))}
    columns = tiny.columns(times, Work(flops=10**9, bytes=1), FLOAT32)
    assert columns["torch s"] is None
    assert columns["torch / JAX"] is None


def test_a_peer_with_other_gradients_is_refused(tiny):
    made = dataclasses.replace(tiny, notes=[])
    made.peers = [Mirror(off=1.01)]
    with pytest.raises(peers.DisagreementError, match=r"gradient differs by 1\.0e-02"):
        training_step.measure(made)


def test_answers_are_compared_by_their_largest_value():
    ours = np.array([0.0, 100.0])
    peers.require_same_answer("x", ours, ours + 0.009)
    with pytest.raises(peers.DisagreementError, match=r"x differs by 2\.0e-04, allowed 1e-04"):
        peers.require_same_answer("x", ours, ours + 0.02)
    with pytest.raises(peers.DisagreementError, match="shapes"):
        peers.require_same_answer("x", ours, ours[:1])
    with pytest.raises(peers.DisagreementError, match="nan"):
        peers.require_same_answer("x", ours, ours * np.nan)


def test_a_contestant_that_fails_is_noted_and_left_out(tiny):
    made = dataclasses.replace(tiny, notes=[])

    def broken():
        raise RuntimeError("no compiler\nhere")

    times = made.compare({session.JAX: lambda: None, "broken": broken})
    assert list(times) == [session.JAX]
    assert made.notes == ["broken: RuntimeError: no compiler here"]


def test_pytorch_is_known_to_its_own_files_only():
    """And to nothing of the package; its files are imported inside a function."""
    for path in [
        *CHECKOUT.glob("*.py"),
        *CHECKOUT.glob("benchmarks/*.py"),
        *CHECKOUT.glob("cpca_jax/**/*.py"),
    ]:
        if path.name.startswith("torch_") and path.parent.name == "benchmarks":
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "torch" for name in names), path.name
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                taken = [node.module, *(alias.name for alias in node.names)]
                assert not {"benchmarks.torch_peer", "benchmarks.torch_networks"} & set(taken)
                assert not {"torch_peer", "torch_networks"} & set(taken), path.name


# Only where PyTorch is installed: nothing of the project installs it.


@pytest.fixture(scope="module")
def pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    return peers.load()[0]


@pytest.mark.parametrize("slices", [1, 3, 9])
@pytest.mark.parametrize("windows", [False, True])
def test_pytorch_denoises_as_jax_does(pytorch, slices, windows):
    of = subjects.subject(sizes.TINY, StepCase(1), slices=slices)
    params = of.start().generator.params
    slab = np.random.default_rng(0).uniform(size=(1, slices + 2, 24, 20, 1)).astype(np.float32)
    theirs = pytorch.denoising(params, slab, slices=slices, windows=windows, precision=FLOAT32)
    ours = np.asarray(jax.jit(of.networks.denoise)(params, slab))
    assert ours.min() > 0
    peers.require_same_answer("cpca", ours, theirs.answer())


def test_a_first_step_in_pytorch_is_ours(pytorch):
    of = subjects.subject(sizes.TINY, StepCase(2, critic_steps=1))
    peers.require_same_step(pytorch, of, of.batches(np.random.default_rng(0)))


def test_the_options_of_every_script():
    options = script.parser("x").parse_args([])
    assert options == argparse.Namespace(json=None, size="usual", memory="kept", commit=None)
