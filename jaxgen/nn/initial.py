"""Initial kernels, drawn along one axis: XLA takes seconds to compile a draw of shape [3,3,4,16] for a CPU, and none to
speak of for [576]. The numbers are the same."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax.typing import Initializer
from jaxtyping import Array


def normal(deviation: float) -> Initializer:
    """N(0, deviation²): the draws of `nn.initializers.normal`.

    >>> kernel = normal(0.05)(jax.random.key(0), (3, 3, 1, 2), jnp.float32)
    >>> bool((kernel == jax.nn.initializers.normal(0.05)(jax.random.key(0), (3, 3, 1, 2), jnp.float32)).all())
    True
    """

    def draw(key: Any, shape: Any, dtype: Any = jnp.float32) -> Array:
        return deviation * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return draw


def fan_in_normal() -> Initializer:
    """N(0, 1/n) with n the inputs that an output sums over: all axes of the kernel but the last."""

    def draw(key: Any, shape: Any, dtype: Any = jnp.float32) -> Array:
        return normal(1 / math.sqrt(math.prod(shape[:-1])))(key, shape, dtype)

    return draw
