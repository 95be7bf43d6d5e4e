"""Count the FLOPs and bytes of a JAX function from its jaxpr, before XLA has optimised it.

The count covers the convolutions and matrix products on which the result depends. The other
operations of a network are small beside them.

FLOPs: two for every product of two stored numbers, one for the product and one for its sum. Zeros
of padding and dilation are not stored numbers. So a convolution and the two adjoints in its
gradients have the same count, in whatever form they are written.

Bytes: each operand and each result of these operations, once and in its own dtype. Weights are
operands. The count assumes that all operations in between are fused into these, and that caches
keep nothing from one operation to the next.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

# For each value: the result depends on it.
Used = list[bool]


@dataclasses.dataclass(frozen=True)
class Work:
    """An amount of arithmetic and of memory traffic.

    Attributes:
        flops: floating-point operations.
        bytes: bytes read and written.
    """

    flops: int = 0
    bytes: int = 0

    @property
    def multiply_adds(self) -> int:
        """Half of the FLOPs: the MACs of published tables."""
        return self.flops // 2

    def __add__(self, other: "Work") -> "Work":
        """Return the sum of both."""
        return Work(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: int) -> "Work":
        """Return this work, done several times."""
        return Work(self.flops * times, self.bytes * times)

    def __floordiv__(self, pieces: int) -> "Work":
        """Return the share of one of several equal pieces, rounded down."""
        return Work(self.flops // pieces, self.bytes // pieces)


def count(function: Callable[..., Any], *arguments: Any) -> Work:
    """Return the work of one call of a function.

    Args:
        function: a function that JAX can trace.
        arguments: of the call; shapes (`jax.ShapeDtypeStruct`) are enough.

    Raises:
        ValueError: a loop of unknown length has convolutions or matrix products.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    work, _ = _of_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return work


def _of_jaxpr(jaxpr: Jaxpr, used: Used) -> tuple[Work, Used]:
    """Return the work for the used outputs, and the inputs that they use."""
    pairs = zip(jaxpr.outvars, used, strict=True)
    needed = {var for var, wanted in pairs if wanted and not isinstance(var, Literal)}
    total = Work()
    for equation in reversed(jaxpr.eqns):
        wanted = [var in needed for var in equation.outvars]
        if not any(wanted):
            continue
        work, inputs = _of_equation(equation, wanted)
        total += work
        read = zip(equation.invars, inputs, strict=True)
        needed |= {var for var, by in read if by and isinstance(var, Var)}
    return total, [var in needed for var in jaxpr.invars]


def _of_equation(equation: JaxprEqn, used: Used) -> tuple[Work, Used]:
    everything = [True] * len(equation.invars)
    name, inner = equation.primitive.name, _inner(equation)
    if name in _FLOPS:
        moved = [*equation.invars, *equation.outvars]
        return Work(_FLOPS[name](equation), sum(_bytes(var.aval) for var in moved)), everything
    if name == "scan":
        return _whole(inner[0]) * equation.params["length"], everything
    if name == "cond":
        platforms = equation.params.get("branches_platforms")
        if platforms is not None:  # one function in a form for each device: the general form
            return _whole(inner[platforms.index(None)]), everything
        return max(map(_whole, inner), key=lambda work: work.flops), everything
    if name == "while":
        if any(_whole(body) != Work() for body in inner):
            raise ValueError("convolutions in a loop of unknown length cannot be counted")
        return Work(), everything
    # A call of another function, which has the inputs and outputs of this equation.
    if len(inner) == 1 and len(inner[0].outvars) == len(used):
        work, inputs = _of_jaxpr(inner[0], used)
        return work, inputs if len(inputs) == len(everything) else everything
    return sum(map(_whole, inner), Work()), everything


def _whole(jaxpr: Jaxpr) -> Work:
    return _of_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]


def _inner(equation: JaxprEqn) -> list[Jaxpr]:
    """Return the jaxprs among the parameters; for a custom derivative the function itself."""
    params = equation.params
    found: list[Jaxpr] = []
    for value in [params["call_jaxpr"]] if "call_jaxpr" in params else params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, ClosedJaxpr):
                found.append(item.jaxpr)
            elif isinstance(item, Jaxpr):
                found.append(item)
    return found


def _bytes(aval: Any) -> int:
    return int(math.prod(aval.shape) * aval.dtype.itemsize)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.aval.shape)


def _matrix_product(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, answer = _shape(equation.invars[0]), _shape(equation.outvars[0])
    return 2 * int(math.prod(left[axis] for axis in contracted)) * math.prod(answer)


def _convolution(equation: JaxprEqn) -> int:
    params = equation.params
    numbers = params["dimension_numbers"]
    image, kernel = map(_shape, equation.invars)
    answer = _shape(equation.outvars[0])
    taps = 1
    for axis in range(len(image) - 2):
        taps *= _taps(
            inputs=image[numbers.lhs_spec[2 + axis]],
            width=kernel[numbers.rhs_spec[2 + axis]],
            outputs=answer[numbers.out_spec[2 + axis]],
            before=params["padding"][axis][0],
            stride=params["window_strides"][axis],
            dilations=(params["lhs_dilation"][axis], params["rhs_dilation"][axis]),
        )
    maps = answer[numbers.out_spec[0]] * answer[numbers.out_spec[1]]
    return 2 * int(taps * maps * kernel[numbers.rhs_spec[1]])


def _taps(
    *,
    inputs: int,
    width: int,
    outputs: int,
    before: int,
    stride: int,
    dilations: Sequence[int],
) -> int:
    """Return the number of pairs of output and kernel position, on one axis, that meet an input."""
    of_input, of_kernel = dilations
    last = (inputs - 1) * of_input
    total = 0
    for k in range(width):
        positions = range(k * of_kernel - before, k * of_kernel - before + outputs * stride, stride)
        total += sum(0 <= place <= last and place % of_input == 0 for place in positions)
    return total


_FLOPS: dict[str, Callable[[JaxprEqn], int]] = {
    "conv_general_dilated": _convolution,
    "dot_general": _matrix_product,
}
