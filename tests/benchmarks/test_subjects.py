"""The measured networks and steps: their counted work against closed formulas, and the sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.measuring.precisions import BFLOAT16, FLOAT32
from benchmarks.measuring.work import count
from benchmarks.subjects.sizes import CPU, TINY, StepCase, sizes_for
from benchmarks.subjects.trainings import make_subject, step_work

pytestmark = pytest.mark.slow


def shape(*axes):
    return jax.ShapeDtypeStruct(axes, jnp.float32)


def test_bfloat16_moves_half_of_the_bytes():
    """The layers are counted as they are defined; a CPU sums in float32 (see `convolution_forms`)."""
    exact, rounded = (
        count(subject.denoise, subject.shapes().generator.params, shape(1, 1, 32, 32, 1))
        for subject in (make_subject(TINY, StepCase(1, 1, p)) for p in (FLOAT32, BFLOAT16))
    )
    assert (rounded.flops, 2 * rounded.bytes) == (exact.flops, exact.bytes)


def test_a_training_step_in_bfloat16_can_be_traced():
    subject = make_subject(TINY, StepCase(1, 1, BFLOAT16))
    work = step_work(subject, subject.batches(np.random.default_rng(0)))
    assert work.flops > 0


# 10^9 multiply-accumulates of a 512x512 slice, as if each layer gave 512x512 maps: in separate
# windows, and in slabs with each 3D layer once per slice. The network is unpadded, which saves two per cent.
BY_DEPTH = {1: (16.3, 16.3), 3: (16.4, 16.4), 5: (21.7, 21.2), 7: (41.5, 26.1), 9: (75.7, 30.9)}


@pytest.mark.parametrize("slices", BY_DEPTH)
def test_cpca_counts_what_it_is_known_to_take(slices):
    subject = make_subject(CPU, StepCase(1), slices=slices)
    params = subject.shapes().generator.params
    window, slab = (
        count(subject.denoise, params, shape(1, slices - 1 + centres, 512, 512, 1)) // centres
        for centres in (1, 200)
    )
    windows, slabs = BY_DEPTH[slices]
    assert window.multiply_adds / 1e9 == pytest.approx(windows, rel=0.025)
    assert slab.multiply_adds / 1e9 == pytest.approx(slabs, rel=0.025)


def test_cpca1_layer_by_layer():
    subject = make_subject(CPU, StepCase(1))
    convolutions = 9 * (32 * 510**2 + 1024 * (508**2 + 506**2 + 504**2))
    # Each pixel is multiplied by the whole kernel: the work of a deconvolution grows with its inputs.
    deconvolutions = 9 * (1024 * (504**2 + 506**2 + 508**2) + 32 * 510**2)
    merges = 64 * 32 * (506**2 + 508**2 + 510**2)
    work = count(subject.denoise, subject.shapes().generator.params, shape(1, 1, 512, 512, 1))
    assert work.multiply_adds == convolutions + deconvolutions + merges


def critic_flops():
    """Return the FLOPs of one score, counted layer by layer, and of the first layer alone."""
    maps, edge, layers = [1, 64, 64, 128, 128, 256, 256], 64, []
    for layer in range(6):
        stride = 1 + layer % 2
        taps = 3 * (edge // stride) - (2 if stride == 1 else 1)
        layers.append(2 * taps**2 * maps[layer] * maps[layer + 1])
        edge //= stride
    return sum(layers) + 2 * (edge**2 * 256 * 1024 + 1024), layers[0]


def test_a_critic_update_is_ten_scores():
    """The gradients at real and fake take three each, less the first layer; the penalty takes four.

    A leaky ReLU is linear in pieces, so that the penalty's gradient goes through the gradient only
    and not through the scores.
    """
    subject = make_subject(CPU, StepCase(1, critic_steps=1))
    generator = count(
        subject.denoise, subject.shapes().generator.params, shape(1, 1, 64, 64, 1)
    ).flops
    more = [
        step_work(chosen, chosen.batches(np.random.default_rng(0))).flops
        for chosen in (make_subject(CPU, StepCase(1, critic_steps=n)) for n in (1, 3))
    ]
    score, first = critic_flops()
    assert (more[1] - more[0]) / 2 == pytest.approx(generator + 10 * score - 2 * first, rel=1e-3)


def test_sizes_fit_the_device():
    assert sizes_for("tiny", "gpu") is TINY
    assert sizes_for("usual", "cpu").steps[0] == StepCase(16)
    on_gpu = sizes_for("usual", "gpu")
    assert {case.batch for case in on_gpu.steps} == {16, 64, 128}
