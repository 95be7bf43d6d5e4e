"""Weights from PyTorch: the same answers as PyTorch's, and refusals."""

import json
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import tiny
from conftest import CHECKOUT
from golden.seeded_weights import seeded_input, seeded_state
from safetensors.numpy import save_file

from cpca_jax import trees
from cpca_jax.configs import cascade as cascade_config
from cpca_jax.configs import cnn as cnn_config
from cpca_jax.configs import gan3d as gan3d_config
from cpca_jax.configs import red_cnn as red_cnn_config
from cpca_jax.configs import wgan_vgg as wgan_vgg_config
from cpca_jax.denoising.denoiser import denoise_volume, load_run
from cpca_jax.errors import ConfigError, InputError, WeightsError
from cpca_jax.evaluation import comparison
from cpca_jax.models import MODELS, build_generator
from cpca_jax.runs import checkpoints, config
from cpca_jax.training import conversion, loop
from cpca_jax.weights.torch_import import from_torch, read_state, recognise
from cpca_jax.weights.torch_names import CONVENTIONS

GOLDEN = CHECKOUT / "tests" / "golden" / "networks_golden.npz"
ZEROS = {"padding": "zeros", "use_bias": True}
# Golden case: (model, fields, source of the names).
CASES = {
    "cnn": ("cnn", {}, "ldct-benchmark CNN-10"),
    "red_cnn": ("red_cnn", {"final_activation": "none"}, "ldct-benchmark RED-CNN"),
    "red_cnn_shared": ("red_cnn", {}, "SSinyu/RED-CNN, shared"),
    "wgan_vgg_zeros": ("wgan_vgg", ZEROS | {"final_activation": "none"}, "ldct-benchmark WGAN"),
    "wgan_vgg_zeros_relu": ("wgan_vgg", ZEROS, "or SSinyu/WGAN-VGG"),
    "wgan_vgg_shared": ("wgan_vgg", ZEROS, "SSinyu/WGAN-VGG, shared"),
    "wgan_vgg_mirrored": ("wgan_vgg", {}, "this project"),
    "cascade": ("cascade", {"stages": 2}, "this project"),
    "cpca": ("cpca", {}, "this project"),
    "cpca_biased_shortcut": ("cpca", {"use_bias": True, "shortcut": True}, "this project"),
    "cpca_reversed": ("cpca", {}, "CPCE-2D of wjkim81"),
    "cpca_3": ("cpca", {"slices": 3}, "this project"),
    "cpca_5": ("cpca", {"slices": 5}, "this project"),
    "gan3d": ("gan3d", {"slices": 15}, "DLDenoise"),
}


class Case:
    """A golden case: PyTorch's state, input and answer, and our network of the same kind."""

    def __init__(self, name):
        self.model, fields, self.source = CASES[name]
        with np.load(GOLDEN) as file:
            facts, self.output = json.loads(str(file[f"{name}/facts"])), file[f"{name}/output"]
        self.state = seeded_state(facts["shapes"], facts["seed"])
        self.input = seeded_input(facts["input"], facts["seed"])
        self.network = build_generator(self.model, **fields)
        self.shapes = shapes_of(self.network)

    def difference(self, params):
        """Return the largest absolute difference between our answer and PyTorch's."""
        channels_last = np.moveaxis(self.input, 1, -1)
        slab = channels_last if self.input.ndim == 5 else channels_last[:, None]
        variables = {
            name: trees.part(params, tree) for name, tree in variables_of(self.network).items()
        }
        ours = jax.jit(self.network.apply)(variables, jnp.asarray(slab))
        return np.abs(np.asarray(ours).reshape(-1) - self.output.reshape(-1)).max()

    def convert(self, state, **arguments):
        return from_torch(self.model, state, self.shapes, **arguments)


def variables_of(network):
    slab = jnp.zeros((1, network.slices, 24, 24, 1))
    return jax.eval_shape(network.init, jax.random.key(0), slab)


def shapes_of(network):
    """Parameters and batch normalisation's moments in one tree."""
    variables = variables_of(network)
    return trees.merged(variables["params"], variables.get("batch_stats", {}))


def write(path, state):
    if path.suffix == ".npz":
        np.savez(path, **state)
    else:
        save_file(dict(state), path)
    return path


@pytest.fixture(scope="module")
def cpca():
    return Case("cpca")


@pytest.fixture(scope="module")
def cnn():
    return Case("cnn")


# The same answers.


@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
@pytest.mark.parametrize("name", CASES)
def test_the_same_weights_give_the_answers_of_pytorch(name, ending, tmp_path):
    case = Case(name)
    state = read_state(write(tmp_path / f"weights{ending}", case.state))
    convention, _ = recognise(case.model, state, case.shapes)
    assert case.source in convention.source
    for field, value in convention.fields.items():
        assert getattr(case.network, field) == value
    params = case.convert(state)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
    assert 0.1 < np.abs(case.output).max() < 10
    assert case.difference(params) < 1e-4


def test_every_convention_has_a_golden_case():
    covered = {model: set() for model in CONVENTIONS}
    for name in CASES:
        case = Case(name)
        convention, _ = recognise(case.model, case.state, case.shapes)
        covered.setdefault(case.model, set()).add(convention.source)
    for model, rows in CONVENTIONS.items():
        assert {row.source for row in rows} <= covered[model]


@pytest.mark.parametrize("model", MODELS)
def test_the_names_of_this_project_work_for_every_model(model):
    shapes = shapes_of(build_generator(model))
    leaves = {"kernel": "weight", "scale": "weight", "mean": "running_mean"}
    leaves |= {"bias": "bias", "var": "running_var"}
    state, expected = {}, {}
    for number, (name, leaf) in enumerate(trees.by_name(shapes).items()):
        layer, _, last = name.rpartition("/")
        ours = np.random.default_rng(number).random(leaf.shape, np.float32)
        theirs = ours
        if last == "kernel" and "deconv" in layer:
            theirs = np.moveaxis(ours, (-2, -1), (0, 1))
        elif last == "kernel":
            theirs = np.moveaxis(ours, (-1, -2), (0, 1))
        state[f"{layer.replace('/', '.')}.{leaves[last]}"] = theirs
        expected[name] = ours
    found = trees.by_name(from_torch(model, state, shapes))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("prefix", ["module.", "generator.", "module.generator."])
def test_prefixes_that_all_keys_have_are_stripped(cnn, prefix):
    prefixed = {prefix + key: array for key, array in cnn.state.items()}
    assert cnn.difference(cnn.convert(prefixed)) < 1e-4
    first = next(iter(prefixed))
    mixed = {key.removeprefix(prefix) if key == first else key: a for key, a in prefixed.items()}
    with pytest.raises(WeightsError, match="these are not weights of cnn"):
        cnn.convert(mixed)


@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floating_point_types_become_float32(cnn, dtype, ending, tmp_path):
    state = {key: array.astype(dtype) for key, array in cnn.state.items()}
    path = write(tmp_path / f"weights{ending}", state)
    if dtype is ml_dtypes.bfloat16 and ending == ".npz":
        # NumPy's format cannot say bfloat16; what comes back is bytes without a type.
        with pytest.raises(WeightsError, match=r"layers\.0\.weight: it holds \|V2"):
            cnn.convert(read_state(path))
        return
    params = cnn.convert(read_state(path))
    np.testing.assert_array_equal(
        params["conv2"]["kernel"],
        state["layers.2.weight"].astype(np.float32).transpose(2, 3, 1, 0),
    )
    assert params["conv2"]["kernel"].dtype == np.float32


def test_shared_layers_are_copied_to_all_that_use_them():
    case = Case("red_cnn_shared")
    params = case.convert(case.state)
    for number in (3, 4, 5):
        np.testing.assert_array_equal(params[f"conv{number}"]["kernel"], params["conv2"]["kernel"])
    for number in (2, 3, 4):
        np.testing.assert_array_equal(
            params[f"deconv{number}"]["kernel"], params["deconv1"]["kernel"]
        )


def test_the_order_of_concatenation_matters():
    """The reversed row's kernels, taken as they are, give other answers."""
    case = Case("cpca_reversed")
    row = CONVENTIONS["cpca"][0]
    plain = case.convert(case.state, names=row.layers)
    assert case.difference(plain) > 0.01
    assert case.difference(case.convert(case.state)) < 1e-4


def test_names_of_ones_own(cpca):
    renamed = {key.replace("conv1.", "first.layer."): a for key, a in cpca.state.items()}
    names = {"conv1": "first.layer"}
    assert cpca.difference(cpca.convert(renamed, names=names)) < 1e-4
    with pytest.raises(WeightsError, match=r"names: 'conv9' is no layer; there are conv1, conv2"):
        cpca.convert(renamed, names={"conv9": "first.layer"})
    with pytest.raises(WeightsError, match=r"the given names, but other\.weight .* is missing"):
        cpca.convert(renamed, names={"conv1": "other"})


# Refusals.


def test_missing_and_unexpected_keys_are_listed_with_shapes():
    case = Case("red_cnn")
    state = dict(case.state) | {"extra.weight": np.zeros((2, 3), np.float32)}
    del state["tconv5.bias"]
    with pytest.raises(WeightsError) as caught:
        case.convert(state)
    message = str(caught.value)
    assert "closest to ldct-benchmark RED-CNN" in message
    assert "tconv5.bias (1,) is missing; extra.weight (2, 3) is unexpected" in message
    assert "use_bias" not in message


def test_biases_that_the_configuration_has_not_are_explained(cnn):
    without = {key: a for key, a in cnn.state.items() if not key.endswith("bias")}
    with pytest.raises(WeightsError, match=r"layers\.0\.bias \(64,\) is missing.*must be False"):
        cnn.convert(without)
    shapes = shapes_of(build_generator("cnn", use_bias=False))
    with pytest.raises(WeightsError, match=r"layers\.0\.bias \(64,\) is unexp.*must be True"):
        from_torch("cnn", cnn.state, shapes)


def test_a_long_list_is_cut(cnn):
    foreign = {f"block{n}.weight": np.zeros((1,), np.float32) for n in range(40)}
    with pytest.raises(WeightsError, match=r"; and \d+ more$") as caught:
        cnn.convert(foreign)
    assert len(str(caught.value)) < 1000
    with pytest.raises(WeightsError, match="is missing"):
        cnn.convert({})


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("layers.0.weight", lambda a: a[:32], r"its shape is \(32, 1, 9, 9\), wanted \(64, 1, 9, 9\)"),
        ("layers.2.weight", lambda a: a.transpose(2, 3, 1, 0), r"its shape is \(3, 3, 64, 32\)"),
        ("layers.2.bias", lambda a: a * np.nan, "it holds numbers that are not finite"),
        ("layers.4.bias", lambda a: a.astype(np.float64) + 1e300, "it holds numbers that are not finite"),
        ("layers.2.bias", lambda a: a.astype(np.int64), "it holds int64"),
        ("layers.2.bias", lambda a: a.astype(np.complex64), "it holds complex64"),
    ],
)  # fmt: skip
def test_arrays_that_are_not_what_they_should_be_are_refused(cnn, key, change, message):
    state = cnn.state | {key: change(cnn.state[key])}
    with pytest.raises(WeightsError, match=f"^{key}: {message}"):
        cnn.convert(state)


def test_a_negative_variance_is_refused():
    case = Case("cascade")
    key = "stage1.norm2.running_var"
    with pytest.raises(WeightsError, match="negative variance"):
        case.convert(case.state | {key: -case.state[key]})


class _Poison:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("ending", [".pth", ".pt", ".ckpt", ".npz", ".safetensors"])
@pytest.mark.parametrize("form", ["pickle", "object array"])
def test_pickles_are_never_executed(tmp_path, ending, form):
    sign, path = tmp_path / "executed", tmp_path / f"poison{ending}"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"conv1.weight": _Poison(sign)}))
    else:
        with path.open("wb") as file:
            np.savez(file, allow_pickle=True, **{"layers.0.weight": np.array([_Poison(sign)])})
    said = "cannot be read" if ending in {".npz", ".safetensors"} else "pickles are not opened"
    with pytest.raises(WeightsError, match=rf"^poison\{ending}: {said}[^\n]*$"):
        read_state(path)
    assert not sign.exists()


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_broken_and_missing_files_are_refused(tmp_path, cnn, ending):
    with pytest.raises(WeightsError, match=r"^none: no such file"):
        read_state(tmp_path / "none")
    path = write(tmp_path / f"cut{ending}", cnn.state)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WeightsError, match=rf"^cut\{ending}: cannot be read"):
        read_state(path)
    path = tmp_path / "weights.h5"
    path.touch()
    with pytest.raises(WeightsError, match=r"must end in one of \.safetensors, \.npz"):
        read_state(path)


# convert.py.


def configuration(tmp_path, **changes):
    """Return a tiny experiment whose store does not exist."""
    chosen = {"model__fields": {}, "data__patch": 24} | changes
    return tiny.configuration(tmp_path / "no-store", **chosen)


@pytest.fixture
def weights(cpca, tmp_path):
    return write(tmp_path / "theirs.safetensors", cpca.state)


@pytest.mark.parametrize("adversarial", [0.0, 1.0])
def test_a_converted_run_denoises_like_pytorch(cpca, weights, tmp_path, adversarial, capsys):
    experiment = configuration(tmp_path, loss__adversarial=adversarial, loss__mse=1.0)
    run = tmp_path / "run"
    assert conversion.convert(experiment, weights, run) == run / "checkpoints" / "0"
    assert "theirs.safetensors: cpca, 62016 weights, the names of" in capsys.readouterr().out
    model = load_run(run)
    assert model.step == 0
    volume = model.window.low + model.window.width * cpca.input[:, 0]
    expected = model.window.low + model.window.width * cpca.output[:, 0]
    found = denoise_volume(model, volume)
    assert np.abs(found - expected).max() < 1e-4 * model.window.width
    if adversarial:
        assert checkpoints.restore_params(run, which="critic")
    else:
        with pytest.raises(InputError, match="it holds no critic"):
            checkpoints.restore_params(run, which="critic")
    assert config.parse(json.loads((run / "config.json").read_text())) == experiment
    about = checkpoints.read_manifest(run, 0).about
    assert about["weights"].startswith("theirs.safetensors, SHA-256 ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cnn", cnn_config),
        ("red_cnn", red_cnn_config),
        ("wgan_vgg_mirrored", wgan_vgg_config),
        ("cascade", cascade_config),
        ("gan3d", gan3d_config),
    ],
)
def test_runs_of_the_published_configurations_denoise_like_pytorch(name, file, tmp_path):
    case, chosen = Case(name), file.get_config()
    fields = CASES[name][1]
    chosen.loss.update({"adversarial": 0.0, "perceptual": 0.0, "mse": 1.0})  # without a critic
    chosen.model.fields.update({k: v for k, v in fields.items() if k != "slices"})
    path = write(tmp_path / "theirs.npz", case.state)
    conversion.convert(config.parse(chosen), path, tmp_path / "run")
    model = load_run(tmp_path / "run")
    half = model.slices // 2
    volume = model.window.low + model.window.width * case.input.reshape(-1, *case.input.shape[-2:])
    expected = model.window.low + model.window.width * case.output
    found = denoise_volume(model, volume)[half : len(volume) - half]
    assert np.abs(found - expected.reshape(found.shape)).max() < 1e-4 * model.window.width


@pytest.mark.slow
def test_a_converted_run_can_be_evaluated_and_transferred(weights, tmp_path):
    run, store = tmp_path / "run", tiny.write_store(tmp_path / "store")
    conversion.convert(configuration(tmp_path), weights, run)
    quick = comparison.EvaluationOptions(network="random", tap="relu1_2", figures=0)
    table = comparison.compare([run], store, tmp_path / "out", quick)
    assert [row.method for row in table.rows] == ["low dose", "run"]
    changes = {"data__store": str(store), "model__slices": 3, "transfer__run": str(run)}
    state = loop.train(configuration(tmp_path, train__steps=1, **changes), tmp_path / "deep")
    assert int(state.step) == 1
    # Training goes on in a folder of its own.
    with pytest.raises(ConfigError, match=r"^run holds a run that differs: .*none, converted"):
        loop.train(configuration(tmp_path, data__store=str(store)), run)


def test_a_folder_with_a_run_and_unfit_weights_leave_nothing_behind(weights, tmp_path, cnn):
    experiment, run = configuration(tmp_path), tmp_path / "run"
    unfit = write(tmp_path / "unfit.npz", cnn.state)
    with pytest.raises(WeightsError, match=r"^unfit\.npz: these are not weights of cpca"):
        conversion.convert(experiment, unfit, run)
    assert not run.exists()
    conversion.convert(experiment, weights, run)
    with pytest.raises(ConfigError, match="run holds a run already"):
        conversion.convert(experiment, weights, run)


def test_fields_that_change_the_answers_are_said(tmp_path, capsys):
    case = Case("cnn")
    path = write(tmp_path / "cnn.npz", case.state)
    model = {"model__name": "cnn", "data__patch": 20}
    conversion.convert(configuration(tmp_path, **model), path, tmp_path / "same")
    assert "warning" not in capsys.readouterr().out
    other = configuration(tmp_path, **model, model__fields={"padding": "mirrored"})
    conversion.convert(other, path, tmp_path / "other")
    said = "warning: ldct-benchmark CNN-10 has padding 'zeros', the configuration 'mirrored'"
    assert said in capsys.readouterr().out


def test_names_from_a_json_file(cpca, tmp_path):
    renamed = {key.replace("conv1.", "first."): a for key, a in cpca.state.items()}
    path, names = write(tmp_path / "renamed.npz", renamed), tmp_path / "names.json"
    names.write_text('{"conv1": "first"}')
    conversion.convert(configuration(tmp_path), path, tmp_path / "run", names=names)
    for text in ("[1]", "{", '{"conv1": 1}'):
        names.write_text(text)
        with pytest.raises(ConfigError, match=r"^names\.json: "):
            conversion.convert(configuration(tmp_path), path, tmp_path / "no", names=names)


@pytest.mark.slow
def test_the_command(weights, tmp_path):
    def call(*arguments):
        command = [sys.executable, CHECKOUT / "convert.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)

    common = ("--config", "configs/cpca1.py", "--workdir", tmp_path / "run", "--weights")
    refused = call(*common, tmp_path / "none.npz")
    assert (refused.returncode, refused.stderr) == (2, "error: none.npz: no such file\n")
    done = call(*common, weights)
    assert done.returncode == 0, done.stderr
    assert load_run(tmp_path / "run").step == 0
