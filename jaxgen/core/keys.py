"""Draws that belong to examples: the same whether one device takes a batch, several share it, or it comes in pieces.

An example's key is made of the batch's key and the example's place in the whole batch. Training says where in the
batch the examples stand that a loss is given; by itself a loss is given all of them. A loss whose draws depend on its
key and on places alone may call its objective separable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

_places: ContextVar[tuple[Any, int]] = ContextVar("places", default=(0, 1))
_shared: ContextVar[Callable[[Array], Array]] = ContextVar("shared", default=lambda x: x)


@contextlib.contextmanager
def at_places(first: Any, stride: int = 1) -> Iterator[None]:
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


@contextlib.contextmanager
def shared_by(share: Callable[[Array], Array]) -> Iterator[None]:
    """Within, `share` says where the rows of what `of_examples` is given lie."""
    token = _shared.set(share)
    try:
        yield
    finally:
        _shared.reset(token)


def of_examples(x: Array) -> Array:
    """x as it is, of which each row belongs to an example at hand: codes of a GAN, say. Devices that share the batch
    then share x and what a net makes of it, which else each of them would make of all rows."""
    return _shared.get()(x)


def example_keys(key: Key[Array, ""], count: int) -> Key[Array, " count"]:
    """A key for each of the `count` examples at hand, by its place in the whole batch."""
    return jax.vmap(lambda place: jax.random.fold_in(key, place))(places(count))
