"""Pages for the eye: pictures with captions, heat maps with their scale, images that grow. All `uint8[H,W,3]`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

Page = UInt8[np.ndarray, "_ _ 3"]

WHITE, INK, OUTSIDE, LINE = 255, 40, 222, (70, 150, 255)
GAP, TEXT = 8, 13
LETTERS, LONGEST = 9, 28


def colour(picture: UInt8[np.ndarray, "*s c"]) -> UInt8[np.ndarray, "*s 3"]:
    """Gray as RGB; of other pictures the first three channels, gray plus something else as gray."""
    return picture[..., :3] if picture.shape[-1] >= 3 else picture[..., :1].repeat(3, -1)


def enlarged(picture: UInt8[np.ndarray, "h w c"], scale: int) -> UInt8[np.ndarray, "h2 w2 c"]:
    """Each pixel as a square of scale × scale."""
    return picture.repeat(scale, 0).repeat(scale, 1)


def scale_for(shape: Sequence[int], least: int) -> int:
    """The whole factor that makes an image at least so many pixels wide and high."""
    return max(1, math.ceil(least / min(shape[:2])))


def words(text: str, size: int = TEXT) -> Page:
    """A line of text, dark on white."""
    from PIL import Image, ImageDraw, ImageFont

    font: Any = ImageFont.load_default(size)
    canvas = Image.new("L", (max(1, math.ceil(font.getlength(text))), math.ceil(size * 1.35)), WHITE)
    ImageDraw.Draw(canvas).text((0, 0), text, INK, font)
    return np.asarray(canvas)[..., None].repeat(3, -1)


def lines(text: str, size: int = TEXT) -> Page:
    """Text of a line or more; of a line longer than `LONGEST` letters the end is shown, where names of files differ."""
    short = [line if len(line) <= LONGEST else f"…{line[1 - LONGEST :]}" for line in text.split("\n")]
    return below([words(line, size) for line in short], 0)


def text_size(height: int) -> int:
    """The size of text beside pictures so high: `LETTERS` lines of it are as high as one, where that is no smaller than
    `TEXT`, since both are read together."""
    return max(TEXT, height // LETTERS)


def beside(parts: Iterable[Page], gap: int = GAP) -> Page:
    """Parts from left to right, their tops aligned, on white."""
    parts = list(parts)
    height = max(part.shape[0] for part in parts)
    return _joined([_padded(part, height, part.shape[1]) for part in parts], 1, gap)


def below(parts: Iterable[Page], gap: int = GAP) -> Page:
    """Parts from top to bottom, their left sides aligned, on white."""
    parts = list(parts)
    width = max(part.shape[1] for part in parts)
    return _joined([_padded(part, part.shape[0], width) for part in parts], 0, gap)


def framed(page: Page, margin: int = 2 * GAP) -> Page:
    """With a white margin."""
    return np.pad(page, ((margin, margin), (margin, margin), (0, 0)), constant_values=WHITE)


def contact_sheet(pictures: Sequence[Page], captions: Sequence[str], columns: int) -> Page:
    """Pictures of one size in rows, each above its caption of a line or more."""
    size = text_size(pictures[0].shape[0])
    tiles = [below([picture, lines(text, size)], 2) for picture, text in zip(pictures, captions, strict=True)]
    width = max(tile.shape[1] for tile in tiles)
    tiles = [_padded(tile, tile.shape[0], width) for tile in tiles]
    return below(beside(tiles[i : i + columns]) for i in range(0, len(tiles), columns))


def captioned(page: UInt8[np.ndarray, "h w c"], text: str) -> UInt8[np.ndarray, "h2 w c"]:
    """A page with a caption below it, cut at the page's width."""
    line = np.pad(words(text), ((3, 3), (6, 6), (0, 0)), constant_values=WHITE)
    strip = np.full((line.shape[0], *page.shape[1:]), WHITE, np.uint8)
    width = min(line.shape[1], page.shape[1])
    strip[:, :width] = line[:, :width, :1]
    return np.concatenate([page, strip])


def _padded(part: Page, height: int, width: int) -> Page:
    missing = ((0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0))
    return np.pad(part, missing, constant_values=WHITE)


def _joined(parts: list[Page], axis: int, gap: int) -> Page:
    shape = list(parts[0].shape)
    shape[axis] = gap
    between = np.full(shape, WHITE, np.uint8)
    pieces = [piece for part in parts for piece in (part, between)][:-1]
    return np.concatenate(pieces, axis)
