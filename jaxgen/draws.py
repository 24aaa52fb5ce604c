"""Draws that belong to examples: the same whether one device takes a batch, several share it, or it comes in pieces.

An example's key is made of the batch's key and the example's place in the whole batch. Training says where in the
batch the examples stand that a loss is given; by itself a loss is given all of them. A loss whose draws depend on its
key and on places alone may call its objective separable.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from jaxgen.errors import UsageError

LEAST_TEMPERATURE = 1e-6
"""By what log-probabilities are divided at least: quotients stay far inside float32, where 1e-40 is zero."""

_places: ContextVar[tuple[Any, int]] = ContextVar("places", default=(0, 1))


@contextlib.contextmanager
def placed(first: Any, stride: int = 1) -> Iterator[None]:
    """Within, the examples of a batch are those at first, first + stride, … of the batch that stands outside."""
    outer_first, outer_stride = _places.get()
    token = _places.set((outer_first + outer_stride * first, outer_stride * stride))
    try:
        yield
    finally:
        _places.reset(token)


def places(count: int) -> Int[Array, " count"]:
    """Where in the whole batch the `count` examples at hand stand."""
    first, stride = _places.get()
    return first + stride * jnp.arange(count)


def example_keys(key: Key[Array, ""], count: int) -> Key[Array, " count"]:
    """A key for each of the `count` examples at hand, by its place in the whole batch."""
    return jax.vmap(lambda place: jax.random.fold_in(key, place))(places(count))


def check_temperature(temperature: float) -> None:
    """Raises `UsageError` unless log-probabilities can be divided by it."""
    if not (math.isfinite(temperature) and temperature > 0):
        raise UsageError(f"temperature must be a number above 0 (1 is the model itself), got {temperature:g}.")
    if temperature < LEAST_TEMPERATURE:
        raise UsageError(
            f"temperature must be at least {LEAST_TEMPERATURE:g}, got {temperature:g}: 0.01 draws the likeliest values "
            "almost always."
        )
