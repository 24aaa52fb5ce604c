"""An object taken out of all that a generator draws (1511.06434, §6.3.1: a generator of bedrooms forgot windows).

Of a few samples somebody says in which box the object is. On a late layer of the generator a logistic regression tells
pixels of its maps inside the boxes from as many outside, drawn from the same samples; the maps whose weight is positive
are set to zero, everywhere and for all codes. What was drawn with them is then replaced by what the other maps draw.

Where the object shows by its colour (`coloured`), its boxes are known without anybody (`box_of`), and what was removed
can be counted (`hits`): of how many images that had the object, and how much else of them changed.

A generator is any function of codes with ReLUs, which are numbered as in `explore.features`. Maps are brought to
variance 1 before the regression, so that its penalty weighs them alike; signs mean the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8

from jaxgen.core.errors import UsageError
from jaxgen.explore.features import Net, guided, with_relus

Box = tuple[int, int, int, int]
"""Top, left, bottom and right in pixels; bottom and right are the first that lie outside."""


MARGIN = 2
"""Pixels around a box that count as the object's: its edges are smooth."""


@dataclasses.dataclass(frozen=True)
class Hits:
    """Of `trials` images that had the object, percent that have it no more, and the PSNR in dB of what lies outside its
    boxes, of the mean squared error over all of them: how well the rest was kept."""

    percent: float
    psnr: float
    trials: int

    @property
    def stderr(self) -> float:
        """The standard error of `percent`, of independent trials."""
        return float(np.sqrt(self.percent * (100 - self.percent) / self.trials))


def check_box(box: Box, shape: Sequence[int]) -> None:
    """Raises `UsageError` for a box that is empty or reaches out of images [h, w, …]."""
    top, left, bottom, right = box
    h, w = shape[:2]
    if not (0 <= top < bottom <= h and 0 <= left < right <= w):
        raise UsageError(
            f"the box {top},{left},{bottom},{right} (top, left, bottom, right) wants 0 ≤ top < bottom ≤ {h} and 0 ≤ "
            f"left < right ≤ {w}: boxes lie inside the image and hold a pixel."
        )


def inside(box: Box, image: Sequence[int], size: Sequence[int]) -> Bool[np.ndarray, "h w"]:
    """Which pixels of a map of a size [h, w] have their centre inside a box of the image. Raises `UsageError` where
    none or all have.

    >>> inside((0, 0, 2, 4), (4, 4), (2, 2)).tolist()
    [[True, True], [False, False]]
    """
    check_box(box, image)
    within = _centres_in(box, image, size)
    if not within.any() or within.all():
        held = "all pixels" if within.any() else "no pixel"
        raise UsageError(
            f"the box {','.join(map(str, box))} holds {held} of a map of {size[0]}×{size[1]}: give another box, or "
            "take a later layer."
        )
    return within


def shows_in(box: Box, image: Sequence[int], size: Sequence[int]) -> bool:
    """Whether some pixels of a map of a size lie in a box of the image, and some outside."""
    within = _centres_in(box, image, size)
    return bool(within.any() and not within.all())


def _centres_in(box: Box, image: Sequence[int], size: Sequence[int]) -> Bool[np.ndarray, "h w"]:
    row, column = ((np.arange(n) + 0.5) * whole / n for n, whole in zip(size[:2], image[:2]))
    rows, columns = (row >= box[0]) & (row < box[2]), (column >= box[1]) & (column < box[3])
    return np.asarray(rows[:, None] & columns)


def object_maps(
    maps: Float[np.ndarray, "n h w c"], within: Bool[np.ndarray, "n h w"], seed: int = 0
) -> Bool[np.ndarray, " c"]:
    """Which maps speak for the object: those with a positive weight in a logistic regression that tells the pixels
    `within` boxes from as many others, drawn by the seed from the same samples.

    >>> maps = np.zeros((1, 2, 4, 3)); within = np.zeros((1, 2, 4), bool); within[0, 0] = True
    >>> maps[within, 0] = 1.0; maps[~within, 1] = 1.0
    >>> object_maps(maps, within).tolist()
    [True, False, False]
    """
    from sklearn.linear_model import LogisticRegression

    draw, rows, labels = np.random.default_rng(seed), [], []
    for each, where in zip(np.asarray(maps, np.float64), within):
        others = each[~where]
        others = others[draw.permutation(len(others))[: where.sum()]]
        rows += [each[where], others]
        labels += [np.ones(where.sum()), np.zeros(len(others))]
    x, y = np.concatenate(rows), np.concatenate(labels)
    spread = x.std(axis=0)
    fitted = LogisticRegression(max_iter=10_000).fit((x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0), y)
    return np.asarray(fitted.coef_[0] > 0) & (spread > 0)


def without(net: Net, layer: int, maps: Bool[np.ndarray, " c"]) -> Net:
    """The generator with these maps of a layer at zero, everywhere and for all codes."""
    keep = jnp.asarray(~np.asarray(maps))
    return with_relus(net, lambda number, x, y: jnp.where(keep, y, 0) if number == layer else y)


def forget(net: Net, z: Any, boxes: Sequence[Box], layer: int, shape: Sequence[int], seed: int = 0) -> tuple[Net, Any]:
    """The generator of images [h, w, …] without the object that the samples of codes have in the boxes, one for each
    code, and which maps of the layer were taken out.

    Raises `UsageError` where there is not a box for each code, for boxes that `inside` refuses, and where no map speaks
    for the object.
    """
    if not len(boxes) or len(boxes) != len(z):
        raise UsageError(f"wanted a box for each of {len(z)} codes, got {len(boxes)}.")
    for box in boxes:
        check_box(box, shape)
    maps = np.asarray(jax.jit(lambda z: guided(net)(z)[layer])(jnp.asarray(z)))
    if maps.ndim != 4:
        raise UsageError(f"layer {layer} is no map of the image, but numbers of shape {list(maps.shape[1:])}.")
    chosen = object_maps(maps, np.stack([inside(box, shape, maps.shape[1:]) for box in boxes]), seed)
    if not chosen.any():
        raise UsageError(f"no map of layer {layer} speaks for what is in the boxes: take another layer, or more boxes.")
    return without(net, layer, chosen), chosen


def check_colour(colour: Sequence[int], near: int, channels: int) -> None:
    """Raises `UsageError` for a colour of another number of channels, and for numbers that are not 0 to 255."""
    if len(colour) != channels or not all(0 <= value <= 255 for value in (*colour, near)):
        raise UsageError(
            f"wanted a colour of {channels} numbers from 0 to 255, one for each channel, and one that says how near to "
            f"it is near enough, got {', '.join(map(str, colour))} and {near}."
        )


def coloured(image: UInt8[np.ndarray, "n h w c"], colour: Sequence[int], near: int) -> Bool[np.ndarray, "n h w"]:
    """Which pixels are of a colour, up to `near` in each channel. Raises `UsageError` as `check_colour` does.

    >>> coloured(np.array([[[[200, 30], [200, 90], [99, 30]]]], np.uint8), (190, 40), 20).tolist()
    [[[True, False, False]]]
    """
    check_colour(colour, near, image.shape[-1])
    off = np.abs(image.astype(np.int16) - np.asarray(colour, np.int16))
    return np.asarray((off <= near).all(axis=-1))


def box_of(there: Bool[np.ndarray, "h w"], least: int = 1) -> Box | None:
    """The smallest box around all pixels of an object, None where they are fewer than `least`.

    >>> box_of(np.array([[False, False, False], [False, True, True]])), box_of(np.zeros((2, 2), bool))
    ((1, 1, 2, 3), None)
    """
    if there.sum() < least:
        return None
    row, column = np.nonzero(there)
    return int(row.min()), int(column.min()), int(row.max()) + 1, int(column.max()) + 1


def hits(
    before: UInt8[np.ndarray, "n h w c"],
    after: UInt8[np.ndarray, "n h w c"],
    colour: Sequence[int],
    near: int,
    least: int = 1,
) -> Hits:
    """What became of the object of a colour in images of 256 levels: it is there where at least so many pixels are of
    its colour. Raises `UsageError` where no image had it.

    >>> before = np.zeros((2, 8, 8, 1), np.uint8); before[:, :2, :2] = 200
    >>> after = before.copy(); after[0, :2, :2] = 0; after[1, 7, 7] = 255
    >>> hits(before, after, (200,), 10).percent, round(hits(before, after, (200,), 10).psnr, 2)
    (50.0, 19.82)
    """
    boxes = [box_of(there, least) for there in coloured(before, colour, near)]
    gone, error, count = [], 0.0, 0
    for box, first, second, still in zip(boxes, before, after, coloured(after, colour, near)):
        if box is None:
            continue
        outside = np.ones(first.shape[:2], bool)
        outside[max(box[0] - MARGIN, 0) : box[2] + MARGIN, max(box[1] - MARGIN, 0) : box[3] + MARGIN] = False
        gone.append(still.sum() < least)
        error += float(((first[outside].astype(np.float64) - second[outside]) ** 2).sum())
        count += int(outside.sum()) * first.shape[-1]
    if not gone:
        said = ", ".join(map(str, colour))
        raise UsageError(
            f"none of {len(before):,} images has {least} pixels of the colour {said}: give another colour."
        )
    psnr = float(10 * np.log10(255.0**2 * count / error)) if error else float("inf")
    return Hits(float(100 * np.mean(gone)), psnr, len(gone))
