"""Rows of pictures under headings, each with a name before it: what changes along a row is told above it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from jaxgen.pictures.page import (
    GAP,
    WHITE,
    Page,
    below,
    beside,
    colour,
    enlarged,
    framed,
    lines,
    scale_for,
    text_size,
    words,
)

LEAST = 56
"""Pixels that a picture of a row is at least wide and high: room for the number above it."""

Block = tuple[UInt8[np.ndarray, "_ _ h w c"], Sequence[str]]
"""Pictures that stand close together, as 0 … 255, and the heading of each of their columns."""


def strips(blocks: Sequence[Block], names: Sequence[str] = (), title: str = "") -> Page:
    """A page of blocks side by side under a title, whose rows have the names, of a line or more, before them."""
    shape = blocks[0][0].shape[2:]
    scale = scale_for(shape, LEAST)
    size = text_size(shape[0] * scale)
    headings = [[words(text, size) for text in above] for _, above in blocks]
    width = max([shape[1] * scale, *(text.shape[1] for row in headings for text in row)])
    before = [lines(name, size) for name in names]
    margin = max((name.shape[1] for name in before), default=0)

    def line(parts: list[list[Page]], name: Page | None) -> Page:
        height = max(part.shape[0] for block in parts for part in block)
        height = height if name is None else max(height, name.shape[0])
        cells = [beside([_centred(part, height, width) for part in block], 2) for block in parts]
        return beside([_centred(name, height, name.shape[1], margin), *cells] if name is not None else cells)

    rows = [line(headings, np.full((1, margin, 3), WHITE, np.uint8) if before else None)]
    for row in range(len(blocks[0][0])):
        parts = [[enlarged(colour(picture), scale) for picture in image[row]] for image, _ in blocks]
        rows.append(line(parts, before[row] if before else None))
    page = below(rows, 2)
    return framed(below([words(title, size), page]) if title else page, GAP)


def _centred(part: Page, height: int, width: int, wide: int = 0) -> Page:
    """A part in the middle of a place, which white fills up on the right to be so `wide`."""
    top, left = (height - part.shape[0]) // 2, (width - part.shape[1]) // 2
    room = ((top, height - part.shape[0] - top), (left, max(wide, width) - part.shape[1] - left), (0, 0))
    return np.pad(part, room, constant_values=WHITE)
