"""Scenes of one to three coloured shapes with a sentence about each: made by a seed, of any size and number.

Of a scene everything is known, so that what a sentence asked for can be read back from a picture and counted. An object
stands alone at one of nine places; two or three stand in a row from left to right, or in a column from top to bottom.
Each has a shape, a colour and a size, and the scene has a background. What is said of them is `data.scene_sentences`'.

Edges are smooth: a pixel's share of a shape is ½ minus the signed distance of its centre from the edge, in pixels, cut
to 0 … 1. Colours vary a little in brightness, and light falls from above.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxgen.core.checks import check_seed
from jaxgen.core.errors import UsageError
from jaxgen.data.dataset import Dataset, Source, Split, finish
from jaxgen.data.scene_sentences import ATTRIBUTES, BACKGROUNDS, COLOURS, MOST, NUMBER, PLACES, SHAPES, SIZES, written

INKS = ((222, 48, 44), (243, 137, 28), (250, 214, 52), (46, 164, 76), (44, 98, 214), (140, 62, 168))
"""What `COLOURS` are as red, green and blue."""

GROUNDS = ((244, 244, 242), (152, 154, 160), (28, 28, 34))
"""The same of `BACKGROUNDS`."""

RADII = ((0.1, 0.17), (0.1, 0.17), (0.08, 0.12))
"""Radius of a small and a large object beside the image's side, by the number of objects."""

SPREADS = ((0.26, 0.5, 0.74), (0.27, 0.73), (1 / 6, 1 / 2, 5 / 6))
"""Where objects stand on the way from one side of the image to the other, by their number; alone, at one of these."""

CHUNK = 500
"""Scenes that are drawn at a time."""

LEAST = 16
"""Pixels of a side at least: on fewer a small square is a small circle."""


def scenes(size: int = 32, num: int = 10_000, objects: tuple[int, ...] = (1, 2), seed: int = 0) -> Source:
    """Colour images size×size×3 of 256 levels, `num` for training with a tenth of them for validation, and a fifth as
    many for testing.

    `objects` are how many stand in a scene, all equally often: 1, 2 or 3. Beside "image" a split has "attribute",
    int32[n,12], the numbers of the values of `ATTRIBUTES` and −1 for none, and "sentence", a line of text for each.
    Raises `UsageError` for a size below 16, fewer than 10 scenes, and other numbers of objects.

    >>> data = scenes(num=100).load()
    >>> data.shape, len(data.train), len(data.test), str(data.train["sentence"][0])
    ((32, 32, 3), 90, 20, 'at the top is a small yellow triangle on white')
    """
    check_seed(seed)
    for name, value, least in (("size", size, LEAST), ("num", num, 10)):
        if value < least:
            raise UsageError(f"scenes: {name} must be at least {least}, got {value}.")
    if not objects or not set(objects) <= set(range(1, MOST + 1)):
        raise UsageError(f"scenes: objects must be numbers from 1 to {MOST}, as (1, 2), got {objects}.")

    def load() -> Dataset:
        splits = {}
        for stream, (name, count) in enumerate((("train", num), ("test", num // 5))):
            draw = np.random.Generator(np.random.Philox(key=[seed, stream]))
            attribute = drawn_attributes(count, objects, draw)
            sentence = np.array([written(row, draw) for row in attribute])
            splits[name] = Split(drawn_scenes(attribute, size, draw), attribute=attribute, sentence=sentence)
        protocol = f"scenes of {' or '.join(map(str, objects))} objects, {size}x{size}, by seed {seed}"
        return finish("scenes", splits, 256, protocol)

    return Source("scenes", load)


def drawn_attributes(num: int, objects: tuple[int, ...], draw: np.random.Generator) -> Int[np.ndarray, "num a"]:
    """Attributes of scenes, every value equally likely and all independent of each other."""
    attribute = np.full((num, len(ATTRIBUTES)), -1, np.int32)
    count = draw.choice(np.array(objects), num)
    attribute[:, NUMBER["objects"]] = count - 1
    alone, together = draw.integers(len(PLACES) - 2, size=num), len(PLACES) - 2 + draw.integers(2, size=num)
    attribute[:, NUMBER["place"]] = np.where(count == 1, alone, together)
    attribute[:, NUMBER["background"]] = draw.integers(len(BACKGROUNDS), size=num)
    for i in range(1, MOST + 1):
        for name, values in (("shape", SHAPES), ("colour", COLOURS), ("size", SIZES)):
            attribute[:, NUMBER[f"{name}_{i}"]] = np.where(i <= count, draw.integers(len(values), size=num), -1)
    return attribute


def drawn_scenes(
    attribute: Int[np.ndarray, "n a"], size: int, draw: np.random.Generator
) -> UInt8[np.ndarray, "n h w 3"]:
    """Scenes of these attributes. Drawn besides are small shifts, and how bright each colour is."""
    column = {name: attribute[:, number] for name, number in NUMBER.items()}
    n, count = len(attribute), column["objects"] + 1
    image = np.empty((n, size, size, 3), np.uint8)
    at = ((np.arange(size) + 0.5) / size).astype(np.float32)
    bright = draw.uniform(0.92, 1.04, (n, MOST + 1))
    centres = np.stack([_centres(column["place"], count, i, draw) for i in range(MOST)], axis=1)
    for rows in (slice(start, start + CHUNK) for start in range(0, n, CHUNK)):
        light = bright[rows, -1, None, None] * (1.04 - 0.08 * at[:, None])  # lighter above
        ground = np.asarray(GROUNDS, float)[column["background"][rows]][:, None, None]
        page = np.repeat(ground * light[..., None], size, axis=2)
        for i in range(MOST):
            there = count[rows] > i
            shape, colour = column[f"shape_{i + 1}"][rows], column[f"colour_{i + 1}"][rows]
            radius = np.asarray(RADII)[count[rows] - 1, column[f"size_{i + 1}"][rows]]
            offset = [(at - centres[rows, i, axis, None]) / radius[:, None] for axis in (0, 1)]
            y, x = offset[0][:, :, None], offset[1][:, None, :]
            share = coverage(shape, y, x, radius * size) * there[:, None, None]
            ink = np.asarray(INKS, float)[colour][:, None, None] * bright[rows, i, None, None, None]
            lit = ink * (1.0 - 0.1 * np.clip(y, -1, 1))[..., None]
            page += share[..., None] * (lit - page)
        image[rows] = np.clip(np.round(page), 0, 255)
    return image


def _centres(
    place: Int[np.ndarray, " n"], count: Int[np.ndarray, " n"], i: int, draw: np.random.Generator
) -> np.ndarray:
    """Down and across, 0 … 1, the centre of object `i` of each scene, shifted a little."""
    apart, cell = np.empty(len(place)), np.asarray(SPREADS[0])
    for number in (1, 2, 3):
        rows = count == number
        apart[rows] = SPREADS[number - 1][min(i, number - 1)]
    near, far = draw.uniform(-0.012, 0.012, len(place)), draw.uniform(-0.1, 0.1, len(place))
    row, alone = place == PLACES.index("row"), count == 1
    single = np.minimum(place, 8)
    down = np.where(alone, cell[single // 3] + 1.5 * near, np.where(row, 0.5 + far, apart + near))
    across = np.where(alone, cell[single % 3] + 0.2 * far, np.where(row, apart + near, 0.5 + far))
    return np.stack([down, across], axis=1)


def coverage(
    shape: Int[np.ndarray, " n"],
    y: Float[np.ndarray, "n h 1"],
    x: Float[np.ndarray, "n 1 w"],
    radius: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n h w"]:
    """The share, 0 … 1, of each pixel that shapes of a radius in pixels cover, at places in radii from the centre.

    Signed distances in radii, negative inside: a circle's is √(x² + y²) − 1; a square's and a triangle's the largest of
    those to the lines of their sides; a star's that to the line from a tip to the notch beside it, once the plane is
    folded onto that tenth of it. None is nearer to the image's edge than 1.25 radii of the centre.
    """
    distance = np.empty((len(shape), y.shape[1], x.shape[2]))
    for number, name in enumerate(SHAPES):
        rows = shape == number
        distance[rows] = _DISTANCES[name](y[rows], x[rows])
    return np.clip(0.5 - distance * radius[:, None, None], 0.0, 1.0) * (shape >= 0)[:, None, None]


SQUARE, TRIANGLE, STAR, NOTCH, SINK = 0.87, 1.25, 1.25, 0.62, 0.25
"""Half a square's side, the radii of the circles through a triangle's corners, a star's tips and its notches, and how
far a triangle's centre lies below that of its place, in radii: shapes look about equally large."""


def _circle(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.sqrt(x**2 + y**2) - 1.0


def _square(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) - SQUARE


def _triangle(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    y = y - SINK
    sides = np.sqrt(0.75) * np.abs(x) - 0.5 * y
    return np.maximum(sides, y) - TRIANGLE / 2.0


def _star(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    tenth = np.pi / 5.0
    angle = np.abs((np.arctan2(x, -y) + tenth) % (2.0 * tenth) - tenth)
    radius = np.sqrt(x**2 + y**2)
    along, aside = radius * np.cos(angle), radius * np.sin(angle)
    notch = NOTCH * np.cos(tenth), NOTCH * np.sin(tenth)
    step = notch[0] - STAR, notch[1]
    return ((along - STAR) * step[1] - aside * step[0]) / np.hypot(*step)


_DISTANCES = {"circle": _circle, "square": _square, "triangle": _triangle, "star": _star}
