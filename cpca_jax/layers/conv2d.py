"""One 2D convolution that stays on fast kernels at every order of differentiation.

The gradient penalty differentiates a gradient. Left to itself, XLA then differentiates dilated
convolutions and leaves its fast kernels (on a CPU, 20 to 40 times slower for a stride of 2). But a
convolution y = C(x, w) is bilinear, and with its two adjoints

    T(g, w):  <g, C(x, w)> = <T(g, w), x>        the input adjoint (a transposed convolution)
    W(x, g):  <g, C(x, w)> = <W(x, g), w>        the kernel adjoint

the derivatives of each of the three are the other two. Three functions that name each other as
their derivatives are therefore enough for gradients of any order, each evaluated by a first-order
kernel of `conv2d_cpu.FORMS`.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from cpca_jax.layers.conv2d_cpu import NO_PADDING, Form, Geometry, Pads, convolve, evaluate


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: Array, kernel: Array, geometry: Geometry) -> Array:
    return evaluate("convolve", x, kernel, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _input_adjoint(g: Array, kernel: Array, geometry: Geometry) -> Array:
    return evaluate("input adjoint", g, kernel, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kernel_adjoint(x: Array, g: Array, geometry: Geometry) -> Array:
    return evaluate("kernel adjoint", x, g, geometry)


Kept = tuple[Array, Array]


def _keep(function: Form) -> Callable[[Array, Array, Geometry], tuple[Array, Kept]]:
    """Return the forward rule of a bilinear function: its value, and both operands for later."""

    def forward(a: Array, b: Array, geometry: Geometry) -> tuple[Array, Kept]:
        return function(a, b, geometry), (a, b)

    return forward


def _convolve_bwd(geometry: Geometry, kept: Kept, g: Array) -> tuple[Array, Array]:
    x, kernel = kept
    return _input_adjoint(g, kernel, geometry), _kernel_adjoint(x, g, geometry)


def _input_adjoint_bwd(geometry: Geometry, kept: Kept, y: Array) -> tuple[Array, Array]:
    g, kernel = kept
    return _convolve(y, kernel, geometry), _kernel_adjoint(y, g, geometry)


def _kernel_adjoint_bwd(geometry: Geometry, kept: Kept, v: Array) -> tuple[Array, Array]:
    x, g = kept
    return _input_adjoint(g, v, geometry), _convolve(x, v, geometry)


_convolve.defvjp(_keep(_convolve), _convolve_bwd)
_input_adjoint.defvjp(_keep(_input_adjoint), _input_adjoint_bwd)
_kernel_adjoint.defvjp(_keep(_kernel_adjoint), _kernel_adjoint_bwd)


def same_pads(size: tuple[int, int], kernel: tuple[int, int], stride: int) -> Pads:
    """Return TensorFlow's 'SAME' zero padding: the output size is size / stride, rounded up."""

    def one_axis(length: int, width: int) -> tuple[int, int]:
        outputs = -(-length // stride)
        total = max((outputs - 1) * stride + width - length, 0)
        return total // 2, total - total // 2

    return one_axis(size[0], kernel[0]), one_axis(size[1], kernel[1])


def conv2d(
    x: Float[Array, "n y x cin"],
    kernel: Float[Array, "ky kx cin cout"],
    *,
    stride: int = 1,
    pads: Pads = NO_PADDING,
) -> Float[Array, "n y2 x2 cout"]:
    """Correlate images with a kernel (what networks call convolution).

    Differentiable in reverse mode to any order; see the module's docstring.

    Args:
        x: images, channels last.
        kernel: (ky, kx, channels in, channels out).
        stride: the stride, the same in y and x.
        pads: the number of zeros before and after, in y and in x.
    """
    if kernel.shape[:2] == (1, 1) and stride == 1 and pads == NO_PADDING:
        return jnp.einsum("nyxi,io->nyxo", x, kernel[0, 0])  # a plain matrix product is faster
    return _convolve(x, kernel, Geometry(stride, pads, x.shape, kernel.shape))


def correlate(
    x: Float[Array, "n y x cin"], kernel: Float[Array, "ky kx cin cout"], *, pads: Pads
) -> Float[Array, "n y2 x2 cout"]:
    """Apply `conv2d` of stride 1 with a kernel that is never trained; the arguments are the same.

    XLA's own rules differentiate it: a frozen network needs one derivative, with respect to its
    images, and tracing the others in vain takes a second.
    """
    geometry = Geometry(1, pads, x.shape, kernel.shape)
    if x.dtype == jnp.float32:
        return convolve(x, kernel, geometry)
    return evaluate("convolve", x, kernel, geometry)


def deconv2d(
    x: Float[Array, "n y x cin"], kernel: Float[Array, "ky kx cin cout"]
) -> Float[Array, "n y2 x2 cout"]:
    """Apply an unpadded transposed convolution of stride 1: each pixel adds the kernel.

    It equals PyTorch's ConvTranspose2d with the kernel's axes moved from (cin, cout, ky, kx).
    """
    ky, kx = kernel.shape[:2]
    return conv2d(x, kernel[::-1, ::-1], pads=((ky - 1, ky - 1), (kx - 1, kx - 1)))
