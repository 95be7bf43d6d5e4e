"""The computation of a 2D convolution and of its two adjoints, on a CPU and elsewhere.

Both columns of FORMS give the same numbers up to rounding. Elsewhere, XLA's own convolution and its
transposes are used. On a CPU, XLA has a fast kernel (YNNPACK) for convolutions without padding;
with padding it falls back to a slower one, and it moves a padding that it sees back into the
convolution. There the zeros are therefore written out, behind a barrier.

A convolution of few channels spends its time on writing its maps: the products of all taps are
added up in one pass, together with the elementwise layer that follows.

bfloat16 is computed as accelerators do it: exact products are summed in float32, and the sum is
rounded.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

Pads = tuple[tuple[int, int], tuple[int, int]]
NO_PADDING: Pads = ((0, 0), (0, 0))

# One slice, or three neighbouring ones, are few channels: 4 and 3 times faster on two cores.
_FEW_CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The constants of a convolution.

    Attributes:
        stride: the stride, the same in y and x.
        pads: the number of zeros before and after, in y and in x.
        input_shape: (n, y, x, cin).
        kernel_shape: (ky, kx, cin, cout).
    """

    stride: int
    pads: Pads
    input_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]


Form = Callable[[Array, Array, Geometry], Array]


def convolve(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve images (n, y, x, cin) with (ky, kx, cin, cout) to maps (n, y2, x2, cout)."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(geometry.stride, geometry.stride),
        padding=geometry.pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def input_adjoint(g: Array, kernel: Array, geometry: Geometry) -> Array:
    """Return the adjoint with respect to the images: the part of `g` that reaches each pixel."""
    x = jax.ShapeDtypeStruct(geometry.input_shape, g.dtype)
    result: Array = jax.linear_transpose(lambda x: convolve(x, kernel, geometry), x)(g)[0]
    return result


def kernel_adjoint(x: Array, g: Array, geometry: Geometry) -> Array:
    """Return the adjoint with respect to the kernel: the part of `g` that reaches each weight."""
    kernel = jax.ShapeDtypeStruct(geometry.kernel_shape, g.dtype)
    result: Array = jax.linear_transpose(lambda kernel: convolve(x, kernel, geometry), kernel)(g)[0]
    return result


def _convolve_on_cpu(x: Array, kernel: Array, geometry: Geometry) -> Array:
    if not _differs("convolve", geometry):
        return convolve(x, kernel, geometry)
    padded, unpadded = _written_out(x, geometry)
    if x.shape[-1] <= _FEW_CHANNELS:
        return _tap_by_tap(padded, kernel)
    return convolve(padded, kernel, unpadded)


def _kernel_adjoint_on_cpu(x: Array, g: Array, geometry: Geometry) -> Array:
    """Write the zeros out: padding inside makes XLA's kernel 20 times slower for a padding of 2."""
    if not _differs("kernel adjoint", geometry):
        return kernel_adjoint(x, g, geometry)
    padded, unpadded = _written_out(x, geometry)
    return kernel_adjoint(padded, g, unpadded)


def _tap_by_tap(x: Array, kernel: Array) -> Array:
    """Compute an unpadded convolution as a sum over the kernel's taps, which XLA fuses."""
    ky, kx, cin, cout = kernel.shape
    rows, columns = x.shape[1] - ky + 1, x.shape[2] - kx + 1
    y = jnp.zeros((x.shape[0], rows, columns, cout), x.dtype)
    for a in range(ky):
        for b in range(kx):
            for i in range(cin):
                y = y + x[:, a : a + rows, b : b + columns, i : i + 1] * kernel[a, b, i]
    return y


def _written_out(x: Array, geometry: Geometry) -> tuple[Array, Geometry]:
    """Return images with their zeros in memory, where XLA leaves them, and the new geometry."""
    if geometry.pads == NO_PADDING:
        return x, geometry
    padded: Array = lax.optimization_barrier(jnp.pad(x, ((0, 0), *geometry.pads, (0, 0))))
    return padded, dataclasses.replace(geometry, pads=NO_PADDING, input_shape=padded.shape)


def _summed_wide(form: Form) -> Form:
    """Return a form that computes in float32 and answers in the dtype of its operands."""

    def wide(a: Array, b: Array, geometry: Geometry) -> Array:
        summed = form(a.astype(jnp.float32), b.astype(jnp.float32), geometry)
        rounded: Array = summed.astype(a.dtype)
        return rounded

    return wide


# The forms by name: first the one used elsewhere, then the one used on a CPU.
FORMS: dict[str, tuple[Form, Form]] = {
    "convolve": (convolve, _summed_wide(_convolve_on_cpu)),
    "input adjoint": (input_adjoint, _summed_wide(input_adjoint)),
    "kernel adjoint": (kernel_adjoint, _summed_wide(_kernel_adjoint_on_cpu)),
}


def _differs(form: str, geometry: Geometry) -> bool:
    """Tell whether a CPU has its own way for float32; if not, there is one form less to trace."""
    padded = geometry.pads != NO_PADDING
    own = {
        "convolve": padded or geometry.kernel_shape[2] <= _FEW_CHANNELS,
        "input adjoint": False,
        "kernel adjoint": padded,
    }
    return geometry.stride == 1 and own[form]


def evaluate(form: str, a: Array, b: Array, geometry: Geometry) -> Array:
    """Evaluate the row of FORMS that suits the device for which the program is compiled."""
    elsewhere, on_cpu = FORMS[form]
    if a.dtype == jnp.float32 and not _differs(form, geometry):
        return elsewhere(a, b, geometry)
    result: Array = lax.platform_dependent(
        a,
        b,
        cpu=lambda a, b: on_cpu(a, b, geometry),
        default=lambda a, b: elsewhere(a, b, geometry),
    )
    return result
