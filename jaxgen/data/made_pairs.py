"""Pairs made of images alone: an input, a map of the condition with values 0 … 1, made of each image of any source.

    edges      thin lines, 1 where the image changes (Canny 1986): a map of one channel
    segments   flat regions, each pixel in one of a few colours that all images share
    gray       brightness alone, a map of one channel: to be coloured in
    masked     the image with a square hole of half its sides, grey, at a place that is drawn anew at each use

They are made inside the compiled step, so that they follow what a transform has done to the images before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxgen.core.errors import UsageError, nearest
from jaxgen.core.images import to_float
from jaxgen.core.model import Batch
from jaxgen.data.dataset import SEED, Dataset, Source, permutation
from jaxgen.data.transforms import chained

Made = Callable[[Float[Array, "b h w c"], Any], Float[Array, "b h w k"]]

Pixels = Float[Array | np.ndarray, "b h w c"]
"""Images with values 0 … 1."""

COLOURS = 8
"""Colours of segments."""

STRONG, WEAK = 0.06, 0.025
"""Slopes, of a range of 1 in a pixel, that begin an edge and that go on with one: those of steps by .19 and .08."""

REACH = 16
"""How many pixels an edge goes on at most from where it is strong."""


def with_inputs(of: Source, kind: str) -> Source:
    """Each image of a source with an input that is made of it: "edges", "segments", "gray" or "masked".

    Raises `UsageError` for another kind, and for gray images whose brightness is all that they have.

    >>> from jaxgen.data.arrays import digits
    >>> data = with_inputs(digits(), "edges").load()
    >>> batch = data.transform({"image": data.train.image[:3]}, jax.random.key(0), True)
    >>> batch["condition"].shape
    (3, 8, 8, 1)
    """
    if kind not in INPUTS:
        raise UsageError(f"inputs: wanted one of {', '.join(INPUTS)}, got {kind!r}.{nearest(kind, INPUTS)}")

    def load() -> Dataset:
        data = of.load()
        if kind == "gray" and data.shape[2] < 3:
            raise UsageError(f"{data.name}: gray inputs are made of images in colour, and these have one channel.")
        if "condition" in data.train:
            raise UsageError(f"{data.name} brings conditions of its own: take these, or leave them out of the data.")
        make = INPUTS[kind](data)

        def transform(batch: Batch, key: Key[Array, ""], train: bool) -> Batch:
            return {**batch, "condition": make(to_float(batch["image"], data.levels), key)}

        protocol = f"{data.protocol}; inputs: {kind} made of the images"
        return dataclasses.replace(data, transform=chained(data.transform, transform), protocol=protocol)

    return Source(f"{of.name} ({kind})", load)


def edges(x: Pixels) -> Float[Array, "b h w 1"]:
    """1 where images with values 0 … 1 have an edge, 0 elsewhere: Canny's detector (1986).

    The gradient is Sobel's, of the channel that changes most, after a Gaussian of about one pixel; along it only
    maxima stay. An edge begins where the slope is at least `STRONG` and goes on while it is `WEAK`, for
    `REACH` pixels at most; the paper leaves these numbers open.

    >>> step = jnp.zeros((1, 5, 6, 1)).at[:, :, 3:].set(1.0)
    >>> edges(step)[0, 2, :, 0].tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    """
    x = _binomial(_binomial(jnp.asarray(x)))
    down, right = _slope(x, 1), _slope(x, 2)
    most = jnp.argmax(down**2 + right**2, axis=-1, keepdims=True)
    down, right = (jnp.take_along_axis(part, most, axis=-1)[..., 0] for part in (down, right))
    size = jnp.sqrt(down**2 + right**2)
    # The neighbours before and behind, along the gradient in steps of 45°.
    octant = jnp.round(jnp.arctan2(down, right) / (jnp.pi / 4)).astype(jnp.int32) % 4
    steps = ((0, 1), (1, 1), (1, 0), (1, -1))
    before = jnp.select([octant == i for i in range(4)], [_moved(size, -i, -j) for i, j in steps])
    behind = jnp.select([octant == i for i in range(4)], [_moved(size, i, j) for i, j in steps])
    thin = (size > before * (1 + 1e-4)) & (size >= behind * (1 - 1e-4))  # of two that are equal, the first
    weak = thin & (size >= WEAK)
    reached = jax.lax.fori_loop(0, REACH, lambda _, edge: weak & _grown(edge), thin & (size >= STRONG))
    return reached[..., None].astype(jnp.float32)


def gray(x: Pixels) -> Float[Array, "b h w 1"]:
    """Brightness by the weights of ITU-R BT.601."""
    return jnp.asarray(x[..., :3]) @ jnp.array([[0.299], [0.587], [0.114]])


def segments(x: Pixels, palette: Float[np.ndarray, "k c"]) -> Float[Array, "b h w c"]:
    """Each pixel, after a Gaussian of about one pixel, as the colour of the palette that is nearest to it."""
    distance = ((_binomial(_binomial(jnp.asarray(x)))[..., None, :] - palette) ** 2).sum(axis=-1)
    return jnp.asarray(palette, jnp.float32)[distance.argmin(axis=-1)]


def masked(x: Pixels, key: Any) -> Float[Array, "b h w c"]:
    """Images with a hole of half their sides, at a place of its own each, in which they are ½."""
    b, h, w, _ = x.shape
    across = jax.random.uniform(key, (b, 2, 1))
    inside = []
    for axis, side in enumerate((h, w)):
        first = jnp.floor(across[:, axis] * (side - side // 2 + 1))
        at = jnp.arange(side)
        inside.append((at >= first) & (at < first + side // 2))
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return jnp.where(hole[..., None], 0.5, x)


def shared_palette(image: np.ndarray, colours: int, levels: int) -> Float[np.ndarray, "k c"]:
    """The means of so many clusters of the colours of images (Lloyd's algorithm), darkest first, values 0 … 1.

    Of the pixels at most 20,000 are looked at, drawn by a constant seed; the first means are spread as far as they can
    be. Fewer colours are given where there are no more.

    >>> image = np.array([0, 0, 9, 9, 200, 202], np.uint8).reshape(1, 2, 3, 1)
    >>> (255 * shared_palette(image, 3, 256)).round().ravel().tolist()
    [0.0, 9.0, 201.0]
    """
    pixels = image.reshape(-1, image.shape[-1])
    pixels = pixels[permutation(len(pixels), SEED, len(pixels))[:20_000]] / (levels - 1.0)
    means = pixels[:1]
    while len(means) < colours:
        far = ((pixels[:, None] - means) ** 2).sum(axis=-1).min(axis=1)
        if not far.max():
            break
        means = np.concatenate([means, pixels[far.argmax()][None]])
    for _ in range(20):
        own = ((pixels[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
        means = np.stack([pixels[own == i].mean(axis=0) if (own == i).any() else means[i] for i in range(len(means))])
    return means[np.argsort(means.sum(axis=1))].astype(np.float32)


def _segments_of(data: Dataset) -> Made:
    some = data.train.image[np.linspace(0, len(data.train) - 1, min(len(data.train), 500)).astype(int)]
    palette = shared_palette(some, COLOURS, data.levels)
    return lambda x, key: segments(x, palette)


INPUTS: dict[str, Callable[[Dataset], Made]] = {
    "edges": lambda data: lambda x, key: edges(x),
    "segments": _segments_of,
    "gray": lambda data: lambda x, key: gray(x),
    "masked": lambda data: masked,
}
"""What makes an input of images with values 0 … 1 and a key, by name, for data of some kind."""


def _binomial(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Means of pixels and their neighbours with weights 1, 2, 1 in both directions; outside it is as at the edge."""
    for axis in (1, 2):
        before, behind = _neighbours(x, axis)
        x = (before + 2 * x + behind) / 4
    return x


def _slope(x: Array, axis: int) -> Array:
    """Sobel's derivative along an axis, in values per pixel."""
    before, behind = _neighbours(x, 3 - axis)
    x = (before + 2 * x + behind) / 4
    before, behind = _neighbours(x, axis)
    return (behind - before) / 2


def _neighbours(x: Array, axis: int) -> tuple[Array, Array]:
    first, last = jax.lax.slice_in_dim(x, 0, 1, axis=axis), jax.lax.slice_in_dim(x, -1, None, axis=axis)
    before = jnp.concatenate([first, jax.lax.slice_in_dim(x, 0, -1, axis=axis)], axis=axis)
    return before, jnp.concatenate([jax.lax.slice_in_dim(x, 1, None, axis=axis), last], axis=axis)


def _moved(x: Array, down: int, right: int) -> Array:
    """What stands so far down and to the right of each pixel of maps [b,h,w], one pixel at most; zero outside."""
    h, w = x.shape[1:]
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1)))[:, 1 + down : 1 + down + h, 1 + right : 1 + right + w]


def _grown(edge: Array) -> Array:
    """True also beside and at the corners of what is True."""
    near = [_moved(edge, i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return jnp.stack(near).any(axis=0)
