"""One file for each slice: the pairs of the RED-CNN repositories, and 16-bit PNG."""

import fake_dicom
import numpy as np
import pytest
from PIL import Image

from cpca_jax.data.collections import sources
from cpca_jax.data.collections.sources import Inputs
from cpca_jax.errors import ConfigError, VolumeError
from cpca_jax.preparation import prepare

FULL, LOW = (
    fake_dicom.body(4, noise_hu=noise_hu, seed=seed).clip(-1024).astype(np.int16)
    for noise_hu, seed in ((10.0, 1), (20.0, 2))
)


def silent(items, description, total):
    return items


def found(folder):
    return sources.gather(Inputs(folder), track=silent).found


def write_pairs(folder, patient, numbers=range(4), dtype=np.float64):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        for side, volume in (("input", LOW), ("target", FULL)):
            values = (volume[number % 4].astype(np.float64) + 1024) / 4096
            np.save(folder / f"{patient}_{number}_{side}.npy", values.astype(dtype))


def write_png(path, image, offset=1024):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image.astype(np.int32) + offset).astype(np.uint16)).save(path)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pairs_of_red_cnn(tmp_path, dtype):
    write_pairs(tmp_path / "in", "L067", dtype=dtype)
    write_pairs(tmp_path / "in", "Jane", dtype=dtype)
    lines = []
    made = prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out", say=lines.append)
    assert "found: RED-CNN, own folders: 4 series" in lines
    by_patient = {one.patient: one for one in made.series}
    assert len(by_patient) == 2
    assert not any("Jane" in line for line in lines)
    one = by_patient["L067"]
    np.testing.assert_array_equal(one.full, FULL)
    np.testing.assert_array_equal(one.low, LOW)
    assert (one.placement, one.spacing_mm) == ("ordered", None)


def test_slices_are_in_the_order_of_their_numbers(tmp_path):
    """They are sorted as numbers, not as text; a missing number separates the neighbours."""
    write_pairs(tmp_path / "in", "L067", numbers=[8, 9, 10, 11, 13])
    made = prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out")
    (one,) = made.series
    assert one.positions_mm == (8.0, 9.0, 10.0, 11.0, 13.0)
    np.testing.assert_array_equal(one.full, FULL[[0, 1, 2, 3, 1]])
    assert one.centres(3).tolist() == [1, 2]


def test_every_second_slice_has_no_neighbour(tmp_path):
    write_pairs(tmp_path / "in", "L067", numbers=[0, 2, 4, 6])
    (one,) = prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out").series
    assert one.centres(3).size == 0


def test_a_sidecar_of_the_patient(tmp_path):
    write_pairs(tmp_path / "in", "L067")
    (tmp_path / "in" / "L067.json").write_text('{"interval_mm": 3, "spacing_mm": [0.7, 0.7]}')
    one, other = found(tmp_path / "in").scans
    assert one.positions_mm == other.positions_mm == (0.0, 3.0, 6.0, 9.0)
    assert {one.placement, other.placement} == {"measured"}


def test_a_slice_without_its_partner_is_said(tmp_path):
    write_pairs(tmp_path / "in", "L067")
    (tmp_path / "in" / "L067_2_input.npy").unlink()
    chosen, (message,), _ = sources.choose_pairs(
        sources.gather(Inputs(tmp_path / "in"), track=silent), simulate=False
    )
    assert not chosen
    assert "1 of 4 full-dose and 0 of 3 low-dose slices have no partner" in message
    assert "(first: 2), must have one each" in message


def test_stacks_that_cannot_be(tmp_path):
    write_pairs(tmp_path / "a", "L067")
    np.save(tmp_path / "a" / "L067_9_input.npy", np.zeros((8, 8)))
    np.save(tmp_path / "a" / "L067_02_target.npy", np.zeros((48, 48)))
    with pytest.raises(VolumeError, match=r"no usable stack of slices among 2") as caught:
        found(tmp_path / "a")
    assert "L067_02_target.npy and L067_2_target.npy: both are slice 2" in str(caught.value)
    (tmp_path / "a" / "L067_02_target.npy").unlink()
    (message,) = found(tmp_path / "a").refused
    assert message == "L067_9_input.npy: is 8 x 8, must be 48 x 48 as L067_0_input.npy is"


def test_pixels_that_are_not_normalised(tmp_path):
    write_pairs(tmp_path / "in", "L067")
    np.save(tmp_path / "in" / "L067_1_target.npy", FULL[1])
    full = next(one for one in found(tmp_path / "in").scans if one.dose_level == "full")
    with pytest.raises(VolumeError, match=r"values lie between .* must be HU"):
        full.read()


def test_names_that_tell_both_doses_take_no_dose_from_flags(tmp_path):
    for folder in ("a", "b"):
        write_pairs(tmp_path / folder, "L067")
    with pytest.raises(ConfigError, match="RED-CNN files tell their dose themselves; give --input"):
        sources.gather(Inputs(full=tmp_path / "a", low=tmp_path / "b"), track=silent)


@pytest.mark.parametrize(
    ("full", "low"),
    [
        ("full/L067/{:04d}.png", "low/L067/{:04d}.png"),
        ("full_1mm/L067_{:d}.png", "quarter_1mm/L067_{:d}.png"),
        ("L067_full_{:03d}.png", "L067_low_{:03d}.png"),
        ("L067_{:d}_full.png", "L067_{:d}_low.png"),
        ("L067_{:d}_target.PNG", "L067_{:d}_input.PNG"),
        ("L067/target_{:d}.png", "L067/input_{:d}.png"),
        ("L067/full dose/CT.{:d}.png", "L067/low dose/CT.{:d}.png"),
    ],
)
def test_png_pairs(tmp_path, full, low):
    for number in range(4):
        write_png(tmp_path / "in" / full.format(number + 8), FULL[number])
        write_png(tmp_path / "in" / low.format(number + 8), LOW[number])
    lines = []
    made = prepare.prepare_scans(Inputs(tmp_path / "in"), tmp_path / "out", say=lines.append)
    assert any(line.startswith("found: PNG, ") for line in lines)
    (one,) = made.series
    assert (one.patient, one.placement) == ("L067", "ordered")
    assert one.positions_mm == (8.0, 9.0, 10.0, 11.0)
    np.testing.assert_array_equal(one.full, FULL)
    np.testing.assert_array_equal(one.low, LOW)


def test_png_in_two_plain_folders(tmp_path):
    for number in range(4):
        write_png(tmp_path / "A" / f"{number}.png", FULL[number])
        write_png(tmp_path / "B" / f"{number}.png", LOW[number])
    got = sources.gather(Inputs(full=tmp_path / "A", low=tmp_path / "B"), track=silent)
    ((pair,), refused, alone) = sources.choose_pairs(got, simulate=False)
    assert (refused, alone) == ([], ())
    assert pair.full.files[0].parent.name == "A"


def test_another_offset_in_a_sidecar(tmp_path):
    for number in range(2):
        write_png(tmp_path / f"L067_{number}.png", FULL[number], offset=8192)
    (tmp_path / "L067.json").write_text('{"intercept": -8192}')
    (one,) = found(tmp_path).scans
    np.testing.assert_array_equal(one.read(), FULL[:2])


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("L067_1.png", "L", "is L, must be grey with 16 bits a pixel"),
        ("L067_1.png", "RGB", "is RGB, must be grey"),
        ("L067.png", "I;16", r"must end in the slice's number, as in L067_012\.png"),
    ],
)
def test_png_of_another_kind(tmp_path, name, mode, message):
    Image.new(mode, (48, 48)).save(tmp_path / name)
    with pytest.raises(VolumeError, match=f"no usable stack of PNG files.*{name}: {message}"):
        found(tmp_path)


def test_damaged_png(tmp_path):
    write_png(tmp_path / "L067_1.png", FULL[0])
    data = (tmp_path / "L067_1.png").read_bytes()
    (tmp_path / "L067_1.png").write_bytes(data[: len(data) // 2])
    (one,) = found(tmp_path).scans
    with pytest.raises(VolumeError, match=r"L067_1.png: pixels cannot be read"):
        one.read()
    (tmp_path / "L067_1.png").write_bytes(b"GIF89a" + data)
    with pytest.raises(VolumeError, match=r"L067_1.png: cannot be read: damaged or no PNG"):
        found(tmp_path)


def test_a_png_that_claims_gigabytes(tmp_path):
    Image.new("I;16", (8200, 1)).save(tmp_path / "L067_1.png")
    with pytest.raises(VolumeError, match=r"is \(8200, 1\) pixels, must be 8192 at most"):
        found(tmp_path)
