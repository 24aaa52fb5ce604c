"""Rows of pictures under headings, each with a name before it: what changes along a row is told above it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from jaxgen.pictures.page import GAP, WHITE, Page, below, beside, colour, enlarged, framed, scale_for, words

LEAST = 48
"""Pixels that a picture of a row is at least wide and high: room for the number above it."""

LONGEST = 28
"""Letters of a row's name; of a longer one the end is shown, where names of files differ."""

Block = tuple[UInt8[np.ndarray, "_ _ h w c"], Sequence[str]]
"""Pictures that stand close together, as 0 … 255, and the heading of each of their columns."""


def strips(blocks: Sequence[Block], names: Sequence[str] = ()) -> Page:
    """A page of blocks side by side, whose rows have the names before them."""
    shape = blocks[0][0].shape[2:]
    scale = scale_for(shape, LEAST)
    headings = [[words(text) for text in above] for _, above in blocks]
    width = max([shape[1] * scale, *(text.shape[1] for row in headings for text in row)])
    before = [words(name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}") for name in names]
    margin = max((name.shape[1] for name in before), default=0)

    def line(parts: list[list[Page]], name: Page | None) -> Page:
        height = max(part.shape[0] for block in parts for part in block)
        cells = [beside([_centred(part, height, width) for part in block], 2) for block in parts]
        return beside([_centred(name, height, margin), *cells] if name is not None else cells)

    lines = [line(headings, np.full((1, margin, 3), WHITE, np.uint8) if before else None)]
    for row in range(len(blocks[0][0])):
        parts = [[enlarged(colour(picture), scale) for picture in image[row]] for image, _ in blocks]
        lines.append(line(parts, before[row] if before else None))
    return framed(below(lines, 2), GAP)


def _centred(part: Page, height: int, width: int) -> Page:
    top, left = (height - part.shape[0]) // 2, (width - part.shape[1]) // 2
    room = ((top, height - part.shape[0] - top), (left, width - part.shape[1] - left), (0, 0))
    return np.pad(part, room, constant_values=WHITE)
