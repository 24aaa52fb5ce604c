"""Many images in one picture, as they are shown and written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from jaxgen.core.files import whole
from jaxgen.pictures.page import enlarged


def gridded(image: Any, levels: int, columns: int | None = None) -> UInt8[np.ndarray, "h w c"]:
    """The grid that `report.write_grid` writes."""
    page = grid(image, levels, columns)
    return enlarged(page, max(1, math.ceil(PICTURE_WIDTH / page.shape[1])))


HOLE = 96
"""Grey of 0 … 255 that stands for a pixel that is not there, the colour of a grid's margins."""


def displayed(image: Any, levels: int) -> UInt8[np.ndarray, "*shape"]:
    """Values 0 … levels−1 as 0 … 255."""
    return np.round(np.asarray(image, np.float32) * (255 / (levels - 1))).astype(np.uint8)


def partial(image: Any, given: Bool[np.ndarray, "h w"], levels: int) -> UInt8[np.ndarray, "b h w c"]:
    """Images as 0 … 255 where `given`, grey elsewhere."""
    return np.where(given[..., None], displayed(image, levels), np.uint8(HOLE))


def side_by_side(image: Any, given: Any, drawn: Any, levels: int) -> UInt8[np.ndarray, "n h w c"]:
    """Rows of original, given part, completions, as 0 … 255; `drawn` holds each image's completions in turn."""
    drawn = displayed(drawn, levels).reshape(len(image), -1, *image.shape[1:])
    parts = [displayed(image, levels)[:, None], partial(image, given, levels)[:, None], drawn]
    return np.concatenate(parts, 1).reshape(-1, *image.shape[1:])


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
    displayed = np.round(image.astype(np.float32) * (255.0 / (levels - 1))).clip(0, 255).astype(np.uint8)
    page = np.full((rows * (h + margin) + margin, columns * (w + margin) + margin, c), 96, np.uint8)
    for i in range(b):
        top, left = (i // columns) * (h + margin) + margin, (i % columns) * (w + margin) + margin
        page[top : top + h, left : left + w] = displayed[i]
    return page


def save_png(picture: np.ndarray, path: str | Path, scale: int = 1) -> Path:
    """Write `uint8[H,W,c]` (c 1, 3 or 4) as PNG, each pixel `scale` times enlarged. Whole file or none."""
    from PIL import Image

    path = Path(path)
    array = np.asarray(picture, np.uint8)
    array = array.repeat(scale, 0).repeat(scale, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(part, "PNG")
    return path


PICTURE_WIDTH = 480
"""Pixels that a grid is at least wide; images smaller than that are enlarged by a whole factor."""


def write_grid(image: Any, levels: int, path: Path, columns: int | None = None, enlarge: int | None = None) -> Path:
    """Images `uint8[b,h,w,c]` as one PNG, enlarged by a whole factor to at least `PICTURE_WIDTH` unless told."""
    page = grid(image, levels, columns)
    return save_png(page, path, enlarge or max(1, math.ceil(PICTURE_WIDTH / page.shape[1])))
