"""Images between `uint8` and float: scaling, requantising, bits per dimension, picture grids.

An image is `uint8[b,h,w,c]` with values 0 … levels−1. Nothing here knows a model.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8


def to_float(image: UInt8[Array | np.ndarray, "*shape"], levels: int) -> Float[Array, "*shape"]:
    """Values 0 … levels−1 as 0 … 1 in float32.

    >>> to_float(np.array([0, 8, 16], np.uint8), 17).tolist()
    [0.0, 0.5, 1.0]
    """
    return jnp.asarray(image, jnp.float32) / (levels - 1)


def from_float(x: Float[Array, "*shape"], levels: int) -> UInt8[Array, "*shape"]:
    """0 … 1 rounded to the nearest of the values 0 … levels−1, clipped to that range.

    >>> from_float(jnp.array([-0.2, 0.4, 1.0]), 4).tolist()
    [0, 1, 3]
    """
    return jnp.clip(jnp.round(x * (levels - 1)), 0, levels - 1).astype(jnp.uint8)


def requantise(image: Any, levels: int, target: int) -> Any:
    """Fewer levels, by equal bins: value v of `levels` becomes ⌊v·target/levels⌋. Takes numpy or jax arrays.

    >>> requantise(np.array([0, 127, 128, 255]), 256, 2).tolist()
    [0, 0, 1, 1]
    """
    if not 2 <= target <= levels:
        raise ValueError(f"target levels must be between 2 and {levels}, got {target}")
    return (image.astype("int32") * target // levels).astype("uint8")


def bits_per_dim(nats: Any, shape: tuple[int, ...]) -> Any:
    """Negative log-likelihood in bits per sub-pixel, from nats per image (−log p) and the image's (h, w, c).

    >>> round(bits_per_dim(79.2, (28, 28, 1)), 4)
    0.1457
    """
    return nats / (math.prod(shape) * math.log(2.0))
