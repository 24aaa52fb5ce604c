"""Ways between two codes of any shape: straight, or along a great circle (1609.04468)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array


def straight(a: Array, b: Array, t: Any) -> Array:
    """a + t (b − a).

    >>> straight(jnp.array([2.0, 0.0]), jnp.array([0.0, 2.0]), 0.5).tolist()
    [1.0, 1.0]
    """
    return a + t * (b - a)


def spherical(a: Array, b: Array, t: Any) -> Array:
    """The direction turned evenly from that of a to that of b, the length changing evenly; all numbers of a code are
    one vector. Straight where no circle, or every one, joins the two.

    >>> half = spherical(jnp.array([2.0, 0.0]), jnp.array([0.0, 2.0]), 0.5)
    >>> [round(x, 4) for x in half.tolist()]
    [1.4142, 1.4142]
    """
    long_a, long_b = jnp.linalg.norm(a.reshape(-1)), jnp.linalg.norm(b.reshape(-1))
    unit_a, unit_b = (x / jnp.maximum(long, 1e-12) for x, long in ((a, long_a), (b, long_b)))
    angle = jnp.arccos(jnp.clip((unit_a * unit_b).sum(), -1.0, 1.0))
    near = jnp.sin(angle) < 1e-3  # of one direction up to rounding, or of two opposite ones, which no circle joins
    over = jnp.where(near, 1.0, jnp.sin(angle))
    first = jnp.where(near, 1.0 - t, jnp.sin((1.0 - t) * angle) / over)
    second = jnp.where(near, t, jnp.sin(t * angle) / over)
    return (first * unit_a + second * unit_b) * (long_a + t * (long_b - long_a))


WAYS: dict[str, Callable[[Array, Array, Any], Array]] = {"straight": straight, "spherical": spherical}
"""Ways by name."""
