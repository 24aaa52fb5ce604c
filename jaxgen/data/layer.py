"""A layer of a picture: what somebody drew over it, with alpha that says where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.data.picture_folder import _opened


def read_layer(
    path: str | Path, shape: tuple[int, int, int]
) -> tuple[UInt8[np.ndarray, "h w c"], Float[np.ndarray, "h w"]]:
    """The colours of a layer for images of a shape, grey or RGB, and its alpha, 0 to 1.

    Raises `UsageError` for a picture without alpha, of another size, of more than 8 bits per channel, without a pixel
    that is drawn, and where images have neither one nor three channels.
    """
    file, (h, w, c) = home_path(path), shape
    if c not in (1, 3):
        raise UsageError(f"{file}: a layer can be read for images of 1 or 3 channels, these have {c}.")
    if not file.is_file():
        raise UsageError(f"there is no file {file}: name a PNG of a layer, with alpha where something is drawn.")
    with _opened(file) as picture:
        if not (picture.mode.endswith(("A", "a")) or "transparency" in picture.info):
            raise UsageError(
                f"{file}: wanted a layer with alpha, which says where something is drawn, got a picture without: save "
                "the strokes alone, on a transparent ground, as PNG."
            )
        if (picture.height, picture.width) != (h, w):
            raise UsageError(
                f"{file}: the layer is {picture.height}×{picture.width}, the model's images are {h}×{w}: draw it in "
                "that size."
            )
        drawn = picture.convert("RGBA")
        alpha = np.asarray(drawn.getchannel("A"), np.float64) / 255.0
        colour = np.asarray(drawn.convert("RGB").convert("L" if c == 1 else "RGB"), np.uint8).reshape(h, w, c)
    if not alpha.any():
        raise UsageError(f"{file}: the layer is transparent all over: draw something on it.")
    return colour, alpha
