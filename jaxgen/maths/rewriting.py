"""A function with some of its operations replaced, as they stand in its jaxpr: its ReLUs, say, or its rounding.

Operations are looked for in the function and in what it calls; those inside loops are not found. A call in which none
is replaced stays as it is, with the derivative that it may have of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun
from jaxtyping import Array

Touches = Callable[[Any], bool]
"""Whether an equation of a jaxpr is to be replaced."""

Rule = Callable[[Sequence[Any], Sequence[Any]], Any]
"""`rule(values, results)`: what stands in the place of an operation's one result."""

CALLS = ("jit", "pjit", "custom_jvp_call", "remat2", "checkpoint")
"""Operations that only call what they hold."""

ROUNDING = ("round", "floor")


def rewritten(function: Callable[[Array], Any], touches: Touches, rule: Rule) -> Callable[[Any], Any]:
    """The function in which every operation that `touches` tells gives what the rule says, in the order in which they
    are computed.

    >>> double = lambda x: 2.0 * jnp.sin(x)
    >>> without = rewritten(double, lambda equation: equation.primitive.name == "sin", lambda values, _: values[0])
    >>> float(without(jnp.array(3.0)))
    6.0
    """

    return lambda x: _replaced(function, x, x, touches, rule)


def unrounded(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A function whose values are rounded to whole numbers, as float32 before they are rounded: it can be
    differentiated. Values that are cut off are half a step above on the average.

    >>> image = lambda z: jnp.clip(jnp.round(3.0 * z), 0, 3).astype(jnp.uint8)
    >>> unrounded(image)(jnp.array([0.4, 2.0])).tolist()
    [1.2000000476837158, 3.0]
    >>> jax.grad(lambda z: unrounded(image)(z).sum())(jnp.array([0.4, 2.0])).tolist()
    [3.0, 0.0]
    """

    def touches(equation: Any) -> bool:
        source = equation.invars[0].aval.dtype if equation.invars else None
        if equation.primitive.name == "convert_element_type" and source is not None:
            return bool(jnp.issubdtype(source, jnp.floating)) and equation.params["new_dtype"] == jnp.uint8
        return equation.primitive.name in ROUNDING

    def values(x: Array | np.ndarray) -> Array:
        results: Array = rewritten(function, touches, lambda values, _: values[0])(x)
        return results.astype(jnp.float32)

    return values


def of_floats(function: Callable[[Any], Any]) -> Callable[[Array], Any]:
    """A function of uint8 images, which it turns into floats, as one of these images as floats on the same scale: it
    can be differentiated by them.

    >>> brightness = lambda image: (jnp.asarray(image, jnp.float32) / 255).sum()
    >>> jax.grad(of_floats(brightness))(jnp.array([51.0, 102.0])).tolist()
    [0.003921568859368563, 0.003921568859368563]
    """

    def touches(equation: Any) -> bool:
        return (
            equation.primitive.name == "convert_element_type"
            and equation.invars[0].aval.dtype == jnp.uint8
            and bool(jnp.issubdtype(equation.params["new_dtype"], jnp.floating))
        )

    def values(x: Array) -> Any:
        image = jax.ShapeDtypeStruct(jnp.shape(x), jnp.uint8)
        return _replaced(function, image, jnp.asarray(x, jnp.float32), touches, lambda values, _: values[0])

    return values


def called(equation: Any) -> Any:
    """The closed jaxpr that an operation calls, None where it does something else."""
    if equation.primitive.name not in CALLS:
        return None
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return inner if hasattr(inner, "consts") else ClosedJaxpr(inner, ())


def _replaced(function: Callable[[Any], Any], like: Any, x: Any, touches: Touches, rule: Rule) -> Any:
    """The function's result at x, traced for arguments like another one."""
    closed, shape = jax.make_jaxpr(function, return_shape=True)(like)
    flat = _evaluate(closed.jaxpr, closed.consts, [x], touches, rule)
    return jax.tree.unflatten(jax.tree.structure(shape), flat)


def _evaluate(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any], touches: Touches, rule: Rule) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments]))
    for equation in jaxpr.eqns:
        operands = [x.val if isinstance(x, Literal) else values[x] for x in equation.invars]
        inner = called(equation)
        if touches(equation):
            results = [rule(operands, _bound(jaxpr, equation, operands))]
        elif inner is not None and _holds(inner.jaxpr, touches):
            results = _evaluate(inner.jaxpr, inner.consts, operands, touches, rule)
        else:
            results = _bound(jaxpr, equation, operands)
        values.update(zip(equation.outvars, results))
    return [x.val if isinstance(x, Literal) else values[x] for x in jaxpr.outvars]


def _bound(jaxpr: Any, equation: Any, operands: Sequence[Any]) -> list[Any]:
    """The results of an operation of a jaxpr, as it stands."""
    read = {x: value for x, value in zip(equation.invars, operands) if not isinstance(x, Literal)}
    about = jaxpr.debug_info.with_unknown_names()
    alone = Jaxpr((), list(read), equation.outvars, [equation], effects=equation.effects, debug_info=about)
    return list(jaxpr_as_fun(ClosedJaxpr(alone, ()))(*read.values()))


def _holds(jaxpr: Any, touches: Touches) -> bool:
    """Whether an operation is to be replaced anywhere in it."""
    inner = ((equation, called(equation)) for equation in jaxpr.eqns)
    return any(touches(equation) or (call is not None and _holds(call.jaxpr, touches)) for equation, call in inner)
