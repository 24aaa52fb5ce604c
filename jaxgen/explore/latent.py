"""What a trained model shows by its latent codes: the way between two, a walk through several, one number varied.

Functions here give codes of any `Latent`, joined as its prior asks (`Latent.between`); `Trained.decode` makes images of
them, a chunk at a time, and `decoded` does so for rows of codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxgen.core.capabilities import Latent
from jaxgen.core.errors import UsageError
from jaxgen.explore.inputs import code_shape

Codes = Float[Array | np.ndarray, "_ ..."]
Code = Float[Array | np.ndarray, "*d"]
Decode = Callable[[Any, Any], Any]
"""`(codes, condition) -> images`: `Trained.decode`, or a model's own with its variables."""

WIDEST, DRAWS = 3.0, 4096
"""As far from its mean as a number of a code is varied, in standard deviations, found from so many draws."""

MOST_DIMENSIONS = 512
"""Of a longer code so many dimensions, evenly spaced, are looked at for the most active ones."""


def interpolate(model: Latent, a: Codes, b: Codes, steps: int) -> Float[np.ndarray, "_ steps ..."]:
    """Codes on the way from each of `a` to that of `b`, evenly spaced, both ends included.

    Raises `UsageError` for fewer than two steps, and where there are not as many ends as beginnings.
    """
    if steps < 2:
        raise UsageError(f"wanted at least 2 steps, the two ends, got {steps}.")
    if np.shape(a) != np.shape(b):
        raise UsageError(f"wanted as many ends as beginnings, got codes of {np.shape(a)} and {np.shape(b)}.")
    t = jnp.linspace(0.0, 1.0, steps)
    along = jax.vmap(jax.vmap(model.between, (None, None, 0)), (0, 0, None))
    return np.asarray(jax.jit(along)(jnp.asarray(a), jnp.asarray(b), t))


def walk(model: Latent, points: Codes, steps: int, closed: bool = True) -> Float[np.ndarray, "n ..."]:
    """Codes of a walk from point to point, each of its legs in so many steps.

    A closed walk returns to the first point and stops a step before it, so that it can be repeated; an open one ends
    at the last point. Raises `UsageError` for fewer than two points, and for no steps.
    """
    points = np.asarray(points)
    if len(points) < 2 or steps < 1:
        raise UsageError(f"wanted at least 2 points and 1 step, got {len(points)} and {steps}.")
    ends = np.roll(points, -1, 0)
    legs = interpolate(model, points, ends, steps + 1)[:, :-1]
    if closed:
        return legs.reshape(-1, *points.shape[1:])
    return np.concatenate([legs[:-1].reshape(-1, *points.shape[1:]), points[-1:]])


def traverse(z: Code, dimensions: Sequence[int], values: Sequence[float]) -> Float[np.ndarray, "k v ..."]:
    """One code with one of its numbers replaced by each of the values; a row for each dimension. Dimensions of a code
    that is no vector count its numbers in order. Raises `UsageError` for one that it does not have."""
    z = np.asarray(z)
    for dimension in dimensions:
        if not 0 <= dimension < z.size:
            raise UsageError(f"the code has dimensions 0 to {z.size - 1}, got {dimension}.")
    codes = np.tile(z.reshape(-1), (len(dimensions), len(values), 1))
    for row, dimension in enumerate(dimensions):
        codes[row, :, dimension] = values
    return codes.reshape(len(dimensions), len(values), *z.shape)


def decoded(
    decode: Decode, codes: Float[Array | np.ndarray, "r s ..."], condition: Any = None
) -> UInt8[Any, "r s ..."]:
    """The images of rows of codes; `condition` has one for each row."""
    rows, steps = codes.shape[:2]
    condition = None if condition is None else np.repeat(np.asarray(condition), steps, 0)
    image = decode(codes.reshape(rows * steps, *codes.shape[2:]), condition)
    return image.reshape(rows, steps, *image.shape[1:])


def span(model: Latent) -> tuple[float, float]:
    """From where to where a number of a code is worth varying: three standard deviations around the mean of the prior's
    draws, and no further than they go, to one decimal: ±3 of a standard Gaussian, ±1 of a uniform on [−1, 1]."""
    z = np.asarray(model.prior(jax.random.key(0), DRAWS), np.float64)
    middle, reach = z.mean(), WIDEST * z.std()
    return round(float(max(middle - reach, z.min())), 1), round(float(min(middle + reach, z.max())), 1)


def active(model: Latent, decode: Decode, z: Code, num: int, condition: Any = None) -> Int[np.ndarray, " k"]:
    """The dimensions of a code that change its image most, the most active first: by the mean difference of the images
    at both ends of `span`. `condition` is that of one image."""
    z = np.asarray(z)
    at = np.unique(np.linspace(0, z.size - 1, min(z.size, MOST_DIMENSIONS)).astype(int))
    codes = traverse(z, at.tolist(), span(model))
    each = None if condition is None else np.repeat(np.asarray(condition), len(at), 0)
    ends = np.asarray(decoded(decode, codes, each), np.float64)
    change = np.abs(ends[:, 1] - ends[:, 0]).reshape(len(at), -1).mean(axis=1)
    return at[np.argsort(-change, kind="stable")[:num]]


def check_encodes(model: Any, codes: Float[np.ndarray, "b ..."]) -> None:
    """Raises `UsageError` where what the model encodes an image as is nothing that it decodes."""
    if codes.shape[1:] != code_shape(model):
        raise UsageError(
            f"{type(model).__name__} encodes an image as {list(codes.shape[1:])} numbers, but decodes codes of "
            f"{list(code_shape(model))}: leave the images out, and draws of its prior are taken."
        )


def principal(z: Float[np.ndarray, "n d"], k: int = 2) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, " k"]]:
    """Coordinates along the first k principal axes, and the share of the variance that each holds: the singular value
    decomposition of the centred rows. Axes that there are not hold zeros; of each axis the largest coordinate is
    positive, so that a picture is not mirrored by chance."""
    centred = np.asarray(z, np.float64) - np.mean(z, axis=0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    u, s = u[:, :k], np.concatenate([s, np.zeros(k)])
    points = u * s[: u.shape[1]]
    points = np.pad(points, ((0, 0), (0, k - points.shape[1])))
    far = points[np.abs(points).argmax(axis=0), np.arange(k)]
    total = (s**2).sum()
    return points * np.where(far < 0, -1.0, 1.0), s[:k] ** 2 / (total or 1.0)
