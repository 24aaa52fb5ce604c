"""Images between `uint8` and float: scaling, requantising, bits per dimension, picture grids.

An image is `uint8[b,h,w,c]` with values 0 … levels−1. Nothing here knows a model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8


def to_float(image: UInt8[Array | np.ndarray, "*shape"], levels: int) -> Float[Array, "*shape"]:
    """Values 0 … levels−1 as 0 … 1 in float32."""
    return jnp.asarray(image, jnp.float32) / (levels - 1)


def from_float(x: Float[Array, "*shape"], levels: int) -> UInt8[Array, "*shape"]:
    """0 … 1 rounded to the nearest of the values 0 … levels−1, clipped to that range."""
    return jnp.clip(jnp.round(x * (levels - 1)), 0, levels - 1).astype(jnp.uint8)


def requantise(image: Any, levels: int, target: int) -> Any:
    """Fewer levels, by equal bins: value v of `levels` becomes ⌊v·target/levels⌋. Takes numpy or jax arrays."""
    if not 2 <= target <= levels:
        raise ValueError(f"target levels must be between 2 and {levels}, got {target}")
    return (image.astype("int32") * target // levels).astype("uint8")


def bits_per_dim(nats: Any, shape: tuple[int, ...]) -> Any:
    """Negative log-likelihood in bits per sub-pixel, from nats per image (−log p) and the image's (h, w, c)."""
    return nats / (math.prod(shape) * math.log(2.0))


def grid(image: Any, levels: int, columns: int | None = None, margin: int = 1) -> np.ndarray:
    """One picture `uint8[H,W,c]`, 0 … 255, of many images in rows, with a mid-grey margin between them.

    `columns` defaults to the square root of the number of images, rounded up.
    """
    image = np.asarray(image)
    if image.ndim != 4 or not len(image):
        raise ValueError(f"grid wants images [b,h,w,c] with b >= 1, got shape {image.shape}")
    b, h, w, c = image.shape
    columns = min(columns or math.ceil(math.sqrt(b)), b)
    rows = -(-b // columns)
    shown = np.round(image.astype(np.float32) * (255.0 / (levels - 1))).clip(0, 255).astype(np.uint8)
    page = np.full((rows * (h + margin) + margin, columns * (w + margin) + margin, c), 96, np.uint8)
    for i in range(b):
        top, left = (i // columns) * (h + margin) + margin, (i % columns) * (w + margin) + margin
        page[top : top + h, left : left + w] = shown[i]
    return page


def save_png(picture: np.ndarray, path: str | Path, scale: int = 1) -> Path:
    """Write `uint8[H,W,c]` (c 1, 3 or 4) as PNG, each pixel `scale` times enlarged. Whole file or none."""
    from PIL import Image

    path = Path(path)
    array = np.asarray(picture, np.uint8)
    array = array.repeat(scale, 0).repeat(scale, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(part, "PNG")
    part.replace(path)
    return path
