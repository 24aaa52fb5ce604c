"""Pages for the eye: pictures with captions, heat maps with their scale, images that grow. All `uint8[H,W,3]`."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from jaxgen.cli.pictures import partial
from jaxgen.images import grid, save_png
from jaxgen.report import PICTURE_WIDTH

Page = UInt8[np.ndarray, "_ _ 3"]

WHITE, INK, OUTSIDE, LINE = 255, 40, 222, (70, 150, 255)
GAP, TEXT = 8, 13

# Black over purple and orange to light yellow, evenly rising in lightness (matplotlib's "magma" at nine places).
_HEAT = np.array([
    (0, 0, 4), (29, 17, 71), (81, 18, 124), (131, 38, 129), (183, 55, 121), (230, 81, 100), (252, 137, 97),
    (254, 196, 136), (252, 253, 191),
])  # fmt: skip


def heat(value: Float[np.ndarray, "*s"], high: float, low: float = 0.0) -> UInt8[np.ndarray, "*s 3"]:
    """Colours of values, clipped to low … high: dark for low ones, light for high ones."""
    at = np.clip((np.asarray(value, np.float64) - low) / ((high - low) or 1.0), 0, 1) * (len(_HEAT) - 1)
    places = np.arange(len(_HEAT))
    return np.stack([np.interp(at, places, _HEAT[:, k]) for k in range(3)], -1).round().astype(np.uint8)


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


def table(pictures: Sequence[Page], captions: Sequence[str], columns: int) -> Page:
    """Pictures of one size in rows, each above its caption."""
    tiles = [below([picture, words(text)], 2) for picture, text in zip(pictures, captions, strict=True)]
    width = max(tile.shape[1] for tile in tiles)
    tiles = [_padded(tile, tile.shape[0], width) for tile in tiles]
    return below(beside(tiles[i : i + columns]) for i in range(0, len(tiles), columns))


def scale_bar(low: str, high: str, width: int) -> Page:
    """The colours of `heat` from low to high, between their names."""
    colours = np.broadcast_to(heat(np.linspace(0, 1, width), 1.0), (TEXT + 2, width, 3))
    return beside([words(low), colours, words(high)])


def field_picture(
    field: Float[np.ndarray, "h w"], context: Bool[np.ndarray, "h w"], at: tuple[int, int], scale: int, decades: float
) -> Page:
    """A field on a log scale of so many decades below its largest value, with a line around the declared context and
    around the pixel `at`. Light grey: no influence at all, outside of the context."""
    most = float(field.max()) or 1.0
    seen = field > 0
    page = heat(np.log10(np.where(seen, field, 1.0) / most), 0.0, -decades)
    page[~seen] = np.where(context[~seen][:, None], _HEAT[0], OUTSIDE)
    page = enlarged(page.astype(np.uint8), scale)
    own = np.zeros_like(context)
    own[at] = True
    for region in (context, own):
        page[_edges(region, scale)] = LINE
    return page


def captioned(page: UInt8[np.ndarray, "h w c"], text: str) -> UInt8[np.ndarray, "h2 w c"]:
    """A page with a caption below it, cut at the page's width."""
    line = np.pad(words(text), ((3, 3), (6, 6), (0, 0)), constant_values=WHITE)
    strip = np.full((line.shape[0], *page.shape[1:]), WHITE, np.uint8)
    width = min(line.shape[1], page.shape[1])
    strip[:, :width] = line[:, :width, :1]
    return np.concatenate([page, strip])


def gridded(image: Any, levels: int, columns: int | None = None) -> UInt8[np.ndarray, "h w c"]:
    """The grid that `report.write_grid` writes."""
    page = grid(image, levels, columns)
    return enlarged(page, max(1, math.ceil(PICTURE_WIDTH / page.shape[1])))


def growing(
    image: UInt8[np.ndarray, "b h w c"], drawn: Bool[np.ndarray, "frames h w"], levels: int
) -> list[UInt8[np.ndarray, "h2 w2 c"]]:
    """Grids of images that grow, from the finished ones: in each frame the pixels that are drawn by then."""
    return [gridded(partial(image, mask, levels), 256) for mask in drawn]


def write_gif(frames: Sequence[UInt8[np.ndarray, "h w c"]], path: Path, seconds: float = 6.0) -> None:
    """Frames as a GIF that repeats, of about so many seconds, with a rest at the end. Whole file or none."""
    from PIL import Image

    pictures = [Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in frames]
    if pictures[-1].mode != "L":  # one palette for all frames, or colours would flicker
        palette = pictures[-1].quantize(256)
        pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    each = max(20, round(1000 * seconds / len(pictures)))
    part = path.with_name(path.name + ".part")
    times = [each] * (len(pictures) - 1) + [2000]
    pictures[0].save(part, "GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0)
    part.replace(path)


def write_frames(frames: Sequence[UInt8[np.ndarray, "h w c"]], folder: Path, digits: int = 4) -> None:
    """Frames as `0000.png`, `0001.png`, … in a new folder. The whole folder or none."""
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)  # a process that was killed may have had this number
    try:
        for number, frame in enumerate(frames):
            save_png(frame, part / f"{number:0{digits}d}.png")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _padded(part: Page, height: int, width: int) -> Page:
    missing = ((0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0))
    return np.pad(part, missing, constant_values=WHITE)


def _joined(parts: list[Page], axis: int, gap: int) -> Page:
    shape = list(parts[0].shape)
    shape[axis] = gap
    between = np.full(shape, WHITE, np.uint8)
    found = [piece for part in parts for piece in (part, between)][:-1]
    return np.concatenate(found, axis)


def _edges(region: Bool[np.ndarray, "h w"], scale: int) -> Bool[np.ndarray, "h2 w2"]:
    """The inner rim of a region in an enlarged picture."""
    large = np.pad(region.repeat(scale, 0).repeat(scale, 1), 1)
    thick = max(1, scale // 16)
    inner = large.copy()
    for _ in range(thick):
        inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    return (large & ~inner)[1:-1, 1:-1]
