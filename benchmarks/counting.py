"""Work of a JAX function, counted and not measured: from its jaxpr, before XLA has seen it.

Counted are convolutions and matrix products that the answer hangs on; whatever else a network does
is small beside them.

FLOPs: two for every multiplication of two numbers that are there, one for it and one to add it up.
A zero that padding or dilation would put in between is not there. So a convolution and the two
adjoints that its gradients are made of have the same count, however they are written.

Bytes: each operand and each result of these operations, once each and in its own dtype. Weights are
operands. Steps between them are taken to be fused into them, and caches to hold nothing from one
operation to the next.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

# A value is used, or nothing hangs on it.
Used = list[bool]


@dataclasses.dataclass(frozen=True)
class Work:
    """What has to be computed and moved.

    Attributes:
        flops: floating-point operations.
        bytes: read and written.
    """

    flops: int = 0
    bytes: int = 0

    @property
    def multiply_adds(self) -> int:
        """Half of the FLOPs: what tables of networks call MAC."""
        return self.flops // 2

    def __add__(self, other: "Work") -> "Work":
        """Both."""
        return Work(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: int) -> "Work":
        """The same several times over."""
        return Work(self.flops * times, self.bytes * times)

    def __floordiv__(self, pieces: int) -> "Work":
        """The share of one of so many pieces."""
        return Work(self.flops // pieces, self.bytes // pieces)


def count(function: Callable[..., Any], *arguments: Any) -> Work:
    """Work of one call of a function.

    Args:
        function: anything that JAX can trace.
        arguments: of the call; shapes (`jax.ShapeDtypeStruct`) do.

    Raises:
        ValueError: it convolves or multiplies in a loop of unknown length.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    work, _ = _of_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return work


def _of_jaxpr(jaxpr: Jaxpr, used: Used) -> tuple[Work, Used]:
    """Work that the used outputs need, and which inputs that uses."""
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
        if platforms is not None:  # the same by different devices: as it is defined
            return _whole(inner[platforms.index(None)]), everything
        return max(map(_whole, inner), key=lambda work: work.flops), everything
    if name == "while":
        if any(_whole(body) != Work() for body in inner):
            raise ValueError("convolutions in a loop of unknown length cannot be counted")
        return Work(), everything
    # A call of another function: its own inputs and outputs are this one's.
    if len(inner) == 1 and len(inner[0].outvars) == len(used):
        work, inputs = _of_jaxpr(inner[0], used)
        return work, inputs if len(inputs) == len(everything) else everything
    return sum(map(_whole, inner), Work()), everything


def _whole(jaxpr: Jaxpr) -> Work:
    return _of_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]


def _inner(equation: JaxprEqn) -> list[Jaxpr]:
    """The jaxprs among an equation's parameters; of a function with its own rules the function."""
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
    """Pairs of output and kernel position, along one axis, that meet a number of the input."""
    of_input, of_kernel = dilations
    last = (inputs - 1) * of_input
    total = 0
    for k in range(width):
        reached = range(k * of_kernel - before, k * of_kernel - before + outputs * stride, stride)
        total += sum(0 <= place <= last and place % of_input == 0 for place in reached)
    return total


_FLOPS: dict[str, Callable[[JaxprEqn], int]] = {
    "conv_general_dilated": _convolution,
    "dot_general": _matrix_product,
}
