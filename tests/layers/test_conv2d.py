"""The convolution primitive against XLA's own, through two orders of derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cpca_jax.layers.conv2d import conv2d, deconv2d, same_pads
from cpca_jax.layers.conv2d_cpu import FORMS, Geometry
from cpca_jax.layers.conv3d import along_z

CASES = [(1, ((0, 0), (0, 0))), (1, ((1, 1), (1, 1))), (2, ((0, 1), (0, 1))), (2, ((1, 1), (0, 1)))]


def reference(x, kernel, stride, pads):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def arrays(key, *shapes):
    keys = jax.random.split(key, len(shapes))
    return [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(("stride", "pads"), CASES)
def test_values_and_first_derivatives(key, stride, pads):
    x, kernel = arrays(key, (2, 9, 12, 3), (3, 3, 3, 4))

    def ours(x, kernel):
        return conv2d(x, kernel, stride=stride, pads=pads)

    def theirs(x, kernel):
        return reference(x, kernel, stride, pads)

    np.testing.assert_allclose(ours(x, kernel), theirs(x, kernel), atol=1e-5)
    for argument in (0, 1):
        got, want = (
            jax.grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), argument)(x, kernel)
            for f in (ours, theirs)
        )
        np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize(("stride", "pads"), CASES)
def test_derivatives_of_the_gradient_penalty(key, stride, pads):
    """The second and the third derivative equal those of XLA's own rules."""
    x, kernel = arrays(key, (2, 9, 12, 3), (3, 3, 3, 4))

    def penalty(f):
        def of(kernel, x):
            gradient = jax.grad(lambda x: jnp.sum(f(x, kernel) ** 3))(x)
            return jnp.sum(jnp.sqrt(jnp.sum(gradient**2, (1, 2, 3)) + 1e-12))

        return of

    ours = penalty(lambda x, k: conv2d(x, k, stride=stride, pads=pads))
    theirs = penalty(lambda x, k: reference(x, k, stride, pads))
    for argument in (0, 1):
        got, want = (jax.grad(f, argument)(kernel, x) for f in (ours, theirs))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
    third = [
        jax.grad(lambda k, f=f: jnp.sum(jnp.cos(jax.grad(f)(k, x))))(kernel) for f in (ours, theirs)
    ]
    np.testing.assert_allclose(*third, rtol=1e-3, atol=1e-3 * np.abs(third[1]).max())


def test_deconvolution_paints_the_kernel(key):
    """One lit pixel gives the kernel itself, unmirrored, at its place."""
    (kernel,) = arrays(key, (3, 3, 1, 1))
    x = jnp.zeros((1, 5, 6, 1)).at[0, 1, 2, 0].set(1.0)
    y = deconv2d(x, kernel)
    assert y.shape == (1, 7, 8, 1)
    np.testing.assert_allclose(y[0, 1:4, 2:5, 0], kernel[..., 0, 0], atol=1e-6)
    assert float(jnp.abs(y).sum()) == pytest.approx(float(jnp.abs(kernel).sum()), rel=1e-5)


def test_deconvolution_is_the_adjoint_of_convolution(key):
    """<deconv(x, w), y> = <x, conv(y, w with its channels exchanged)>."""
    x, kernel, y = arrays(key, (2, 5, 6, 3), (3, 3, 3, 4), (2, 7, 8, 4))
    left = jnp.vdot(deconv2d(x, kernel), y)
    right = jnp.vdot(x, conv2d(y, jnp.swapaxes(kernel, 2, 3)))
    np.testing.assert_allclose(left, right, rtol=1e-4)


def test_one_by_one_is_a_matrix_product(key):
    x, kernel = arrays(key, (2, 5, 6, 3), (1, 1, 3, 4))
    want = reference(x, kernel, 1, ((0, 0), (0, 0)))
    np.testing.assert_allclose(conv2d(x, kernel), want, atol=1e-5)


@pytest.mark.parametrize("size", [7, 8, 63, 64])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_is_xlas(key, size, stride):
    x, kernel = arrays(key, (1, size, size + 1, 1), (3, 3, 1, 1))
    pads = same_pads((size, size + 1), (3, 3), stride)
    want = reference(x, kernel, stride, "SAME")
    np.testing.assert_allclose(conv2d(x, kernel, stride=stride, pads=pads), want, atol=1e-5)


@pytest.mark.parametrize(("stride", "pads"), [*CASES, (1, ((0, 2), (3, 1)))])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("form", FORMS)
def test_both_forms_are_the_same(key, form, channels, stride, pads):
    """A CPU and other devices compute the same numbers."""
    x, kernel = arrays(key, (2, 9, 12, channels), (3, 3, channels, 4))
    g = reference(x, kernel, stride, pads)
    operands = {"convolve": (x, kernel), "input adjoint": (g, kernel), "kernel adjoint": (x, g)}
    geometry = Geometry(stride, pads, x.shape, kernel.shape)
    elsewhere, on_cpu = (computed(*operands[form], geometry) for computed in FORMS[form])
    np.testing.assert_allclose(on_cpu, elsewhere, rtol=1e-5, atol=1e-5 * np.abs(elsewhere).max())


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("slices", [3, 4, 5, 8])
@pytest.mark.parametrize("operation", [conv2d, deconv2d])
def test_along_z_is_a_3d_convolution(key, operation, slices, channels):
    """Odd and even numbers of output slices; XLA's own 3D convolution is the oracle."""
    x, kernel = arrays(key, (2, slices, 7, 8, channels), (3, 3, 3, channels, 5))
    around = 2 if operation is deconv2d else 0
    in_plane = kernel[:, ::-1, ::-1] if operation is deconv2d else kernel

    def theirs(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel,
            (1, 1, 1),
            ((0, 0), (around, around), (around, around)),
            dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        )

    np.testing.assert_allclose(
        along_z(operation, x, kernel), theirs(x, in_plane), rtol=1e-4, atol=1e-4
    )
    ours, want = (
        jax.grad(lambda x, f=f, k=k: jnp.sum(jnp.sin(f(x, k))))(x)
        for f, k in ((lambda x, k: along_z(operation, x, k), kernel), (theirs, in_plane))
    )
    np.testing.assert_allclose(ours, want, rtol=1e-3, atol=1e-3)


def test_vmap_over_kernels(key):
    x, kernels = arrays(key, (2, 6, 6, 3), (5, 3, 3, 3, 2))
    gradient = jax.grad(lambda k: jnp.sum(conv2d(x, k) ** 2))
    many, one = jax.vmap(gradient)(kernels), gradient(kernels[3])
    np.testing.assert_allclose(many[3], one, rtol=1e-4, atol=1e-3)


def test_bfloat16_sums_in_float32(key):
    """Operands are rounded, products are exact, and the sum is rounded once, as on accelerators."""
    left, right = jax.random.split(key)
    x = jax.random.normal(left, (2, 9, 9, 32)).astype(jnp.bfloat16)
    kernel = jax.random.normal(right, (3, 3, 32, 4)).astype(jnp.bfloat16)
    found = conv2d(x, kernel)
    wide = conv2d(x.astype(jnp.float32), kernel.astype(jnp.float32))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found, wide.astype(jnp.bfloat16))
