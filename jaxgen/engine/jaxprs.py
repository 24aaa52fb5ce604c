"""What a traced function contains: its convolutions and its floating-point operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def count_flops(jaxpr: Any) -> float:
    """FLOPs of the matrix products and convolutions of a (closed) jaxpr, all else taken as free.

    The body of a scan counts as often as it runs, that of a while loop, whose length is unknown, once; of the
    branches of a conditional the dearest. Zeros that a dilated convolution inserts are not counted.
    """
    total = 0.0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2.0 * equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
            inserted = math.prod(params["lhs_dilation"])
            total += 2.0 * equation.outvars[0].aval.size * kernel.size / features / inserted
        elif name == "scan":
            total += params["length"] * count_flops(params["jaxpr"])
        elif name == "cond":
            total += max(count_flops(branch) for branch in params["branches"])
        else:
            total += sum(count_flops(inner) for inner in _inner(equation))
    return total


def convolves(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a function, traced on these arguments, contains a convolution anywhere."""

    def within(jaxpr: Any) -> bool:
        return any(e.primitive.name == "conv_general_dilated" or any(map(within, _inner(e))) for e in jaxpr.eqns)

    return within(jax.make_jaxpr(function)(*arguments).jaxpr)


def _inner(equation: Any) -> Iterator[Any]:
    """The jaxprs that an equation holds: bodies of loops, branches, calls."""
    for value in jax.tree.leaves(tuple(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
        value = getattr(value, "jaxpr", value)
        if hasattr(value, "eqns"):
            yield value
