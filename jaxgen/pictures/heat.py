"""Numbers as colours: heat maps, their scale, and a receptive field."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8

from jaxgen.pictures.page import LINE, OUTSIDE, TEXT, Page, beside, enlarged, words

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


def _edges(region: Bool[np.ndarray, "h w"], scale: int) -> Bool[np.ndarray, "h2 w2"]:
    """The inner rim of a region in an enlarged picture."""
    large = np.pad(region.repeat(scale, 0).repeat(scale, 1), 1)
    thick = max(1, scale // 16)
    inner = large.copy()
    for _ in range(thick):
        inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    return (large & ~inner)[1:-1, 1:-1]
