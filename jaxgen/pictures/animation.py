"""Images that grow pixel by pixel or change from one to another, as a GIF or as frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from jaxgen.core.files import whole, whole_folder
from jaxgen.pictures.grid import gridded, partial, save_png

PALETTE_FRAMES = 16
"""Frames, evenly spaced and the last among them, whose colours a GIF is written in."""


def growing(
    image: UInt8[np.ndarray, "b h w c"],
    drawn: Bool[np.ndarray, "frames h w"],
    levels: int,
    page: Callable[[Any, int], np.ndarray] = gridded,
) -> list[UInt8[np.ndarray, "h2 w2 c"]]:
    """Grids of images that grow, from the finished ones: in each frame the pixels that are drawn by then. `page` makes
    a grid of images and their levels."""
    return [page(partial(image, mask, levels), 256) for mask in drawn]


def write_gif(
    frames: Sequence[UInt8[np.ndarray, "h w c"]], path: Path, seconds: float = 6.0, rest: float = 2.0
) -> None:
    """Frames as a GIF that repeats, of about so many seconds, with a rest at the end. Whole file or none."""
    from PIL import Image

    pictures = [Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in frames]
    if pictures[-1].mode != "L":  # one palette for all frames, or colours would flicker
        some = np.linspace(len(frames) - 1, 0, min(len(frames), PALETTE_FRAMES)).astype(int)
        palette = Image.fromarray(np.concatenate([frames[i] for i in some])).quantize(256)
        pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    each = max(20, round(1000 * seconds / len(pictures)))
    times = [each] * (len(pictures) - 1) + [max(each, round(1000 * rest))]
    with whole(path) as part:
        pictures[0].save(part, "GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0)


def write_frames(frames: Sequence[UInt8[np.ndarray, "h w c"]], folder: Path, digits: int = 4) -> None:
    """Frames as `0000.png`, `0001.png`, … in a new folder. The whole folder or none."""
    with whole_folder(folder) as part:
        for number, frame in enumerate(frames):
            save_png(frame, part / f"{number:0{digits}d}.png")
