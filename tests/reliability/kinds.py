"""The kinds of files that are damaged: how each is made, and how the commands read it.

A kind is a row of KINDS. To add one, write a function that makes an original below an empty folder
and one that reads it as a command does; the latter returns the content as bytes by name.
"""

import dataclasses
import functools
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import denoised
import fake_dicom
import h5py
import jax
import mutations
import nibabel
import numpy as np
import tiny
from conftest import CHECKOUT
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from safetensors.numpy import save_file

from cpca_jax import trees
from cpca_jax.data.collections import sources
from cpca_jax.data.collections.sources import Inputs
from cpca_jax.data.collections.splits import SplitChoice
from cpca_jax.data.scan import no_track
from cpca_jax.data.store.manifest import SeriesInfo
from cpca_jax.data.store.reader import open_store
from cpca_jax.data.store.writer import StoreWriter
from cpca_jax.denoising.denoiser import load_run
from cpca_jax.denoising.folder import DenoisingOptions, denoise_folder
from cpca_jax.evaluation import report
from cpca_jax.models import build_generator, vgg
from cpca_jax.preparation import prepare
from cpca_jax.reproduction.engine import Plan, Stage
from cpca_jax.runs import config, saving
from cpca_jax.runtime import logs, run_log
from cpca_jax.training import conversion
from cpca_jax.training.experiment import build_networks
from cpca_jax.training.networks import create_state, state_shapes
from cpca_jax.training.optim import optimisers
from cpca_jax.weights import torch_import
from cpca_jax.weights.feature_network import load_feature_network, save_weights

# Texts in attributes of patients; none of them may come out in a message.
# No digits alone: Orbax makes up names of digits and letters.
MARKERS = ("Marker", "Secret", "Zebrafink", "19710203")
FULL, LOW = (
    fake_dicom.body(3, noise_hu=noise, seed=seed, size=32).clip(-1024).astype(np.int16)
    for noise, seed in ((10.0, 1), (20.0, 2))
)
PATIENT = {
    "PatientName": "Marker^Secret",
    "PatientID": "Secret-4711",
    "PatientBirthDate": "19710203",
    "InstitutionName": "Zebrafink",
    "StudyDescription": "Zebrafink Secret",
}
GOLDEN = CHECKOUT / "tests" / "golden"
NARROW = vgg.Architecture("vgg19-narrow", (2, 2, 4, 4, 4), (4, 8, 16, 32, 32))

Content = dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of files.

    Attributes:
        make: writes an original below an empty folder.
        read: reads what is in the folder as the commands do, or raises an InputError.
        damage: a function of `mutations`.
        files: a pattern of the files that are damaged.
        protected: whether digests protect the content: what is read then was in the original.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], Content]
    damage: Callable = mutations.damage_bytes
    files: str = "**/*"
    protected: bool = False


# DICOM and NIfTI, as denoise.py reads and writes them.


def make_dicom(folder, *, syntax, slices=1):
    for z in range(slices):
        own = {"SOPInstanceUID": f"1.2.9.{z + 1}", "StudyInstanceUID": "1.2.3"}
        dataset = fake_dicom.ct_slice(FULL[z], position_mm=2.0 * z, **PATIENT, **own)
        block = dataset.private_block(0x0011, "Zebrafink", create=True)
        block.add_new(1, "LO", "Secret")
        fake_dicom.save(dataset, folder / "in" / f"{z}.dcm", syntax=syntax)


def make_nifti(folder, *, name="scan.nii", kind=nibabel.Nifti1Image, dtype=np.int16):
    image = kind(FULL.transpose(2, 1, 0).astype(dtype), np.diag([-0.7, -0.7, 3.0, 1.0]))
    image.header["descrip"] = b"Marker Secret 4711"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"Zebrafink 19710203"))
    content = image.to_bytes()
    (folder / "in").mkdir()
    packed = gzip.compress(content, mtime=0) if name.endswith(".gz") else content
    (folder / "in" / name).write_bytes(packed)


def read_to_denoise(folder):
    denoise_folder(denoised.IDENTITY, folder / "in", folder / "out", DenoisingOptions())
    return _files(folder / "out", "**/*.dcm") | _files(folder / "out", "**/*.nii*")


def make_denoised(folder, *, make):
    make(folder)
    read_to_denoise(folder)


# Collections, as prepare.py reads them.


def make_npy(folder):
    (folder / "in").mkdir()
    for level, volume in (("full", FULL), ("low", LOW)):
        np.save(folder / "in" / f"Case_{level}.npy", volume)


def make_sidecar(folder):
    make_npy(folder)
    said = {"patient": "Marker Secret", "kernel": "B30f", "thickness_mm": 3, "intercept": 0}
    said |= {"spacing_mm": [0.7, 0.7], "interval_mm": 2, "slope": 1}
    (folder / "in" / "Case.json").write_text(json.dumps(said))


def make_red_cnn(folder):
    (folder / "in").mkdir()
    for side, volume in (("input", LOW), ("target", FULL)):
        for z, image in enumerate(volume):
            np.save(folder / "in" / f"L067_{z}_{side}.npy", (image + 1024.0) / 4096)


def make_png(folder):
    (folder / "in").mkdir()
    for level, volume in (("low", LOW), ("full", FULL)):
        for z, image in enumerate(volume):
            stored = (image.astype(np.int32) + 1024).astype(np.uint16)
            Image.fromarray(stored).save(folder / "in" / f"L067_{z}_{level}.png")


def make_hdf5(folder, **packing):
    (folder / "in").mkdir()
    with h5py.File(folder / "in" / "L067.h5", "w") as file:
        for level, volume in (("data", LOW), ("label", FULL)):
            file.create_dataset(level, data=volume, **packing)


def make_lodopab(folder):
    (folder / "in").mkdir()
    values = np.random.default_rng(0).random((2, 362, 362), np.float32) * 0.3
    with h5py.File(folder / "in" / "ground_truth_train_000.hdf5", "w") as file:
        file.create_dataset("data", data=values, chunks=(1, 362, 362), compression=1)
    (folder / "in" / "patient_ids_rand_train.csv").write_text("7\n3\n")


def read_to_prepare(folder, *, simulate=False):
    gathered = sources.gather(Inputs(folder / "in"), track=no_track)
    pairs, refused, _ = sources.choose_pairs(gathered, simulate=simulate)
    for message in (*gathered.found.refused, *gathered.found.notes, *refused):
        logs.say(message)
    return {
        f"{p.label} {p.full.key}": p.full.read().tobytes() + p.low.read().tobytes() for p in pairs
    }


def read_to_check(folder):
    prepare.prepare_scans(Inputs(folder / "in"), None, check=True, say=logs.say)
    return read_to_prepare(folder)


# Stores.


def make_store(folder):
    tiny.write_store(folder / "store")


def read_store(folder):
    opened = open_store(folder / "store", verify=True)
    content = {}
    for one in opened.series:
        assert one.runs and one.centres(3).dtype == int
        content[f"{len(content)}"] = one.low.tobytes() + one.full.tobytes()
    return content


INFO = SeriesInfo("one", "one", "train", "k", 2.0, (1.0, 1.0), (0.0, 2.0, 4.0))


def make_progress(folder):
    try:
        with StoreWriter(folder / "store") as writer:
            writer.add(
                INFO, LOW, FULL, key="the key", note={"noise": [1.0, 2.0], "calibration": ""}
            )
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def read_progress(folder):
    """Go on with an interrupted store: a series is taken over as it was, or made again."""
    with StoreWriter(folder / "store") as writer:
        note = writer.take_over("the key", "one")
        if note is None:
            writer.add(INFO, LOW, FULL)
    return read_store(folder)


# Runs.


@functools.cache
def _experiment():
    experiment = tiny.configuration(Path("store"))
    return experiment, build_networks(experiment), optimisers(experiment.optim)


def make_run(folder):
    experiment, networks, players = _experiment()
    state = create_state(networks, players, jax.random.key(0))
    about = {"feature_network": "none", "data": "none"}
    saving.save(folder / "run", state, config.to_json(experiment), about=about, keep=3)


def read_run(folder):
    run = folder / "run"
    model = load_run(run)
    _, networks, players = _experiment()
    state = saving.restore_state(run, state_shapes(networks, players), step=model.step)
    leaves = {str(n): np.asarray(a).tobytes() for n, a in enumerate(jax.tree.leaves(state))}
    return leaves | {"digest": model.digest.encode(), "step": str(model.step).encode()}


def make_logs(folder):
    scores = {"psnr": 30.0, "ssim": 0.9, "rmse": 20.0, "perceptual": 1.0}
    scores |= {f"low_{name}": value for name, value in scores.items()}
    log = run_log.RunLog(folder, 0)
    for step in range(1, 9):
        log.write("train", step, {"wasserstein": 0.1, "gradient_norm": 1.0, "output_sd": 0.2})
        log.write("validation", step, {"epoch": step / 2, **scores})
    log.close()
    shutil.rmtree(folder / "events")


def read_logs(folder):
    """Draw the curves, then resume at step 6: no sound line up to there may be lost."""
    curves = {
        name: run_log.read_jsonl(folder / f"{name}.jsonl") for name in ("train", "validation")
    }
    before = {name: _lines(folder / f"{name}.jsonl") for name in curves}
    try:
        if curves["validation"]:
            report.draw_curves(folder / "curves.png", {"meaning": {"run": curves["validation"]}})
        if curves["train"]:
            report.draw_critics(folder / "critics.png", {"run": curves["train"]})
        log = run_log.RunLog(folder, 6)
        try:
            log.write("train", 7, {"wasserstein": 0.1})
            log.write("validation", 7, {"epoch": 3.5})
        finally:
            log.close()
    finally:
        for name, lines in before.items():
            kept = _lines(folder / f"{name}.jsonl")
            lost = [line for line in lines if line not in kept and line["step"] <= 6]
            assert not lost, f"lines of {name}.jsonl are lost: {lost[:1]}"
    return {}


def _lines(path):
    """Return the sound lines of a log, each a mapping with a step."""
    lines = []
    for line in path.read_bytes().split(b"\n") if path.is_file() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and type(row.get("step")) is int:
            lines.append(row)
    return lines


def make_config(folder):
    (folder / "config.json").write_text(config.to_json(_experiment()[0]))


def read_config(folder):
    experiment = config.parse(_json(folder / "config.json"))
    build_networks(experiment)
    return {}


def _json(path):
    """Return parsed JSON; that a file is JSON at all is not what is tried here."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}


# Weights.


def make_weights(folder, *, name):
    shutil.copy(GOLDEN / name, folder / f"weights{Path(name).suffix}")


def make_own_weights(folder):
    save_weights(folder / "weights.npz", _load_weights(GOLDEN / "vgg_narrow.h5"))


def _load_weights(path):
    return load_feature_network(
        "vgg19", tap="relu5_4", weights=str(path), architecture=NARROW, cache=path.parent
    )


def read_weights(folder):
    (path,) = folder.glob("weights*")
    return {name: a.tobytes() for name, a in vgg.flat(_load_weights(path).params).items()}


def _denoiser_shapes():
    module = build_generator("cpca", features=4)
    shapes = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, 1, 24, 24, 1), np.float32))
    return shapes["params"]


def make_state_dict(folder, *, save):
    """Write zeros under our own names with PyTorch's ending and order of axes."""
    arrays = {}
    for name, leaf in trees.by_name(_denoiser_shapes()).items():
        ky, kx, into, out = leaf.shape
        layer = name.removesuffix("/kernel")
        maps = (into, out) if layer.startswith("deconv") else (out, into)
        arrays[f"{layer}.weight"] = np.zeros((*maps, ky, kx), np.float32)
    save(folder, arrays)


def read_state_dict(folder):
    (path,) = folder.glob("weights*")
    names = (
        conversion._read_names(folder / "names.json") if (folder / "names.json").exists() else None
    )
    tree = torch_import.from_torch(
        "cpca", torch_import.read_state(path), _denoiser_shapes(), names=names
    )
    return {name: leaf.tobytes() for name, leaf in trees.by_name(tree).items()}


# Records.


def make_split_file(folder):
    table = {"L067": "train", "L096": "test", "L109": "validation"}
    (folder / "split.json").write_text(json.dumps(table))


def read_split_file(folder):
    SplitChoice(file=folder / "split.json").assign(["L067", "L096", "L109"])
    return {}


def _plan(folder):
    return Plan(folder, [Stage("one", lambda root, found: (root / "result").touch())])


def make_stages(folder):
    _plan(folder).run(say=logs.say)


def read_stages(folder):
    plan = _plan(folder)
    for line in plan.describe():
        logs.say(line)
    plan.run(say=logs.say)
    assert (plan.folder("one") / "result").exists()
    return {}


def _files(folder, pattern):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.glob(pattern))}


def _dicom(syntax, slices=1, **changes):
    return Kind(
        functools.partial(make_dicom, syntax=syntax, slices=slices), read_to_denoise, **changes
    )


def _weights(name):
    return Kind(functools.partial(make_weights, name=name), read_weights)


_SERIES = functools.partial(make_dicom, syntax=ExplicitVRLittleEndian, slices=3)
_VOLUME = functools.partial(make_nifti, name="scan.nii.gz")

KINDS = {
    "dicom": _dicom(ExplicitVRLittleEndian),
    "dicom-implicit": _dicom(ImplicitVRLittleEndian),
    "dicom-big-endian": _dicom(ExplicitVRBigEndian),
    "dicom-deflated": _dicom(DeflatedExplicitVRLittleEndian),
    "dicom-rle": _dicom(RLELossless),
    "dicom-jpeg2000": _dicom(JPEG2000Lossless),
    "dicom-jpegls": _dicom(JPEGLSLossless),
    "dicom-series": _dicom(ExplicitVRLittleEndian, slices=3),
    "dicom-names": _dicom(ExplicitVRLittleEndian, slices=3, damage=mutations.damage_name),
    "nifti": Kind(make_nifti, read_to_denoise),
    "nifti-float": Kind(functools.partial(make_nifti, dtype=np.float32), read_to_denoise),
    "nifti-gz": Kind(_VOLUME, read_to_denoise),
    "nifti-2": Kind(functools.partial(make_nifti, kind=nibabel.Nifti2Image), read_to_denoise),
    "nifti-prepare": Kind(make_nifti, functools.partial(read_to_prepare, simulate=True)),
    "npy": Kind(make_npy, read_to_check),
    "sidecar": Kind(make_sidecar, read_to_prepare, mutations.damage_json, "in/*.json"),
    "red-cnn": Kind(make_red_cnn, read_to_prepare),
    "png": Kind(make_png, read_to_prepare),
    "png-names": Kind(make_png, read_to_prepare, mutations.damage_name),
    "hdf5": Kind(make_hdf5, read_to_prepare),
    "hdf5-packed": Kind(functools.partial(make_hdf5, compression=4, shuffle=True), read_to_prepare),
    "lodopab": Kind(make_lodopab, functools.partial(read_to_prepare, simulate=True)),
    "store": Kind(make_store, read_store, protected=True),
    "store-manifest": Kind(make_store, read_store, mutations.damage_json, "store/*.json", True),
    "store-names": Kind(make_store, read_store, mutations.damage_name, protected=True),
    "store-progress": Kind(make_progress, read_progress, mutations.damage_json, ".*/*.jsonl", True),
    "checkpoint": Kind(make_run, read_run, protected=True),
    "checkpoint-manifest": Kind(
        make_run, read_run, mutations.damage_json, "**/manifest.json", protected=True
    ),
    "checkpoint-names": Kind(make_run, read_run, mutations.damage_name, protected=True),
    "logs": Kind(make_logs, read_logs, mutations.damage_json),
    "config": Kind(make_config, read_config, mutations.damage_json),
    "weights-h5": _weights("vgg_narrow.h5"),
    "weights-pth": _weights("vgg_narrow.pth"),
    "weights-pth-2017": _weights("vgg_narrow_legacy.pth"),
    "weights-safetensors": _weights("vgg_narrow.safetensors"),
    "weights-npz": Kind(make_own_weights, read_weights, protected=True),
    "state-dict-npz": Kind(
        functools.partial(
            make_state_dict, save=lambda folder, arrays: np.savez(folder / "weights.npz", **arrays)
        ),
        read_state_dict,
    ),
    "state-dict-safetensors": Kind(
        functools.partial(
            make_state_dict,
            save=lambda folder, arrays: save_file(arrays, folder / "weights.safetensors"),
        ),
        read_state_dict,
    ),
    "split-file": Kind(make_split_file, read_split_file, mutations.damage_json),
    "stage-record": Kind(make_stages, read_stages, mutations.damage_json, "**/*.json"),
    "denoised-record": Kind(
        functools.partial(make_denoised, make=_VOLUME),
        read_to_denoise,
        mutations.damage_json,
        "out/scan*.json",
    ),
    "denoised-series-record": Kind(
        functools.partial(make_denoised, make=_SERIES),
        read_to_denoise,
        mutations.damage_json,
        "out/*/.*.json",
    ),
}
