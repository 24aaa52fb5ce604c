"""What a trained model shows by its latent codes: the way between two, a walk through several, one number varied, draws
cut off where the prior is thin.

Functions here give codes of any `Decoder`, joined as its prior asks (`Decoder.between`) or by a way of `core.ways`;
`Trained.decode` makes images of them, a chunk at a time, and `decoded` does so for rows of codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int, UInt8

from jaxgen.core.capabilities import Decoder, Latent, require
from jaxgen.core.errors import UsageError
from jaxgen.core.ways import WAYS
from jaxgen.explore.inputs import code_shape, encoded_shape

Codes = Float[Array | np.ndarray, "_ ..."]
Code = Float[Array | np.ndarray, "*d"]
Decode = Callable[[Any, Any], Any]
"""`(codes, condition) -> images`: `Trained.decode`, or a model's own with its variables."""

WIDEST, DRAWS = 3.0, 4096
"""As far from its mean as a number of a code is varied, in standard deviations, found from so many draws."""

MOST_DIMENSIONS = 512
"""Of a longer code so many dimensions, evenly spaced, are looked at for the most active ones."""

APART = 0.05
"""How far the distribution of a prior's numbers may lie from that of N(0, 1), by Kolmogorov's distance, to be taken for
it: of so many draws the distance is about 0.01, of a uniform prior on [−1, 1] it is 0.16."""

ACTIVE = 0.01
"""The variance over images above which a number of the posterior mean counts as in use (1509.00519, §5.2)."""


def interpolate(model: Decoder, a: Codes, b: Codes, steps: int, way: str = "") -> Float[np.ndarray, "_ steps ..."]:
    """Codes on the way from each of `a` to that of `b`, evenly spaced, both ends included.

    The way is "straight", "spherical", or the model's own by default. Raises `UsageError` for fewer than two steps, for
    another way, and where there are not as many ends as beginnings.
    """
    if steps < 2:
        raise UsageError(f"wanted at least 2 steps, the two ends, got {steps}.")
    if np.shape(a) != np.shape(b):
        raise UsageError(f"wanted as many ends as beginnings, got codes of {np.shape(a)} and {np.shape(b)}.")
    if way and way not in WAYS:
        raise UsageError(f"wanted a way that is {' or '.join(WAYS)}, got {way!r}.")
    t = jnp.linspace(0.0, 1.0, steps)
    along = jax.vmap(jax.vmap(WAYS[way] if way else model.between, (None, None, 0)), (0, 0, None))
    return np.asarray(jax.jit(along)(jnp.asarray(a), jnp.asarray(b), t))


def conditions_between(a: Any, b: Any, steps: int) -> np.ndarray | None:
    """What codes on the ways from `a` to `b` are decoded by, [rows, steps, ...]: vectors and maps change evenly, labels
    halfway, so that both ends have their own; None where there are none."""
    if a is None or b is None:
        return None
    a, b = (np.asarray(x)[:, None] for x in (a, b))
    t = np.linspace(0.0, 1.0, steps, dtype=np.float32).reshape(1, steps, *[1] * (a.ndim - 2))
    if np.issubdtype(a.dtype, np.integer):
        return np.where(t <= 0.5, a, b)
    return ((1 - t) * a + t * b).astype(a.dtype)


def walk(model: Decoder, points: Codes, steps: int, closed: bool = True, way: str = "") -> Float[np.ndarray, "n ..."]:
    """Codes of a walk from point to point, each of its legs in so many steps.

    A closed walk returns to the first point and stops a step before it, so that it can be repeated; an open one ends
    at the last point. Raises `UsageError` for fewer than two points, for no steps, and for a way that is none.
    """
    points = np.asarray(points)
    if len(points) < 2 or steps < 1:
        raise UsageError(f"wanted at least 2 points and 1 step, got {len(points)} and {steps}.")
    return _joined(interpolate(model, points, np.roll(points, -1, 0), steps + 1, way), points, closed)


def conditions_along(condition: Any, steps: int, closed: bool = True) -> np.ndarray | None:
    """What the codes of a `walk` are decoded by, where its points are of these conditions."""
    if condition is None:
        return None
    points = np.asarray(condition)
    legs = conditions_between(points, np.roll(points, -1, 0), steps + 1)
    return None if legs is None else _joined(legs, points, closed)


def _joined(legs: np.ndarray, points: np.ndarray, closed: bool) -> np.ndarray:
    """Legs one after the other, each but for its end."""
    legs = legs[:, :-1]
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
    """The images of rows of codes; `condition` has one for each code, [r, s, ...]."""
    rows, steps = codes.shape[:2]
    condition = None if condition is None else np.asarray(condition).reshape(rows * steps, *np.shape(condition)[2:])
    image = decode(codes.reshape(rows * steps, *codes.shape[2:]), condition)
    return image.reshape(rows, steps, *image.shape[1:])


def truncated(z: Codes, bound: float) -> Float[np.ndarray, "_ ..."]:
    """Draws of N(0, I) as draws of it under the condition that no number is beyond ±`bound` (1809.11096, §3.1).

    Where the paper draws numbers anew that lie beyond, each is moved here to the number of the same quantile,
    Φ(−|z′|) = Φ(−bound) + (1 − 2Φ(−bound)) Φ(−|z|): the distribution is the same, and images of the same seed can be
    compared under several bounds. Raises `UsageError` unless the bound is a number above 0.

    >>> truncated(np.array([[-9.0, -1.0, 0.0, 1.0]]), 2.0).astype(float).round(3).tolist()
    [[-2.0, -0.938, 0.0, 0.938]]
    """
    check_bound(bound)
    z, beyond = np.asarray(z, np.float64), scipy.special.ndtr(-bound)
    tail = beyond + (1.0 - 2.0 * beyond) * scipy.special.ndtr(-np.abs(z))
    moved: np.ndarray = np.copysign(np.minimum(np.abs(scipy.special.ndtri(tail)), bound), z).astype(np.float32)
    return moved


def check_bound(bound: float) -> None:
    """Raises `UsageError` unless a prior can be cut off there."""
    if not 0 < bound < np.inf:
        raise UsageError(
            f"truncation must be a number above 0, got {bound:g}: no number of a code lies beyond it, and the smaller "
            "it is, the more alike are the images; without one the prior is as it is."
        )


def check_normal(model: Any) -> None:
    """Raises `UsageError` unless the prior is N(0, I), so far as its draws tell: no other can be cut off as `truncated`
    does it."""
    require(model, Latent, "draw from a truncated prior")
    draws = np.sort(np.asarray(model.prior(jax.random.key(0), DRAWS), np.float64).reshape(-1))
    distance = np.abs(scipy.special.ndtr(draws) - (np.arange(draws.size) + 0.5) / draws.size).max()
    if distance > APART:
        raise UsageError(
            f"truncation is of a prior N(0, I), and {type(model).__name__} has another, from {draws[0]:.3g} to "
            f"{draws[-1]:.3g}: leave it out."
        )


def prior_span(model: Latent) -> tuple[float, float]:
    """From where to where a number of a code is worth varying, by the prior's draws (`span`): ±3 of a standard
    Gaussian, ±1 of a uniform on [−1, 1]."""
    return span(np.asarray(model.prior(jax.random.key(0), DRAWS)))


def span(z: Codes) -> tuple[float, float]:
    """From where to where a number of such codes is worth varying: three standard deviations around their mean, and no
    further than they go, to one decimal."""
    z = np.asarray(z, np.float64)
    middle, reach = z.mean(), WIDEST * z.std()
    return round(float(max(middle - reach, z.min())), 1), round(float(min(middle + reach, z.max())), 1)


def active(
    decode: Decode, z: Code, num: int, between: tuple[float, float], condition: Any = None
) -> Int[np.ndarray, " k"]:
    """The dimensions of a code that change its image most, the most active first: by the mean difference of the images
    at both ends of `between`. `condition` is that of one image."""
    z = np.asarray(z)
    at = np.unique(np.linspace(0, z.size - 1, min(z.size, MOST_DIMENSIONS)).astype(int))
    codes = traverse(z, at.tolist(), between)
    each = None if condition is None else np.tile(np.asarray(condition), (len(at), 2, *[1] * (np.ndim(condition) - 1)))
    ends = np.asarray(decoded(decode, codes, each), np.float64)
    change = np.abs(ends[:, 1] - ends[:, 0]).reshape(len(at), -1).mean(axis=1)
    return at[np.argsort(-change, kind="stable")[:num]]


def informative(z: Codes) -> tuple[Int[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """All dimensions by how much they tell images apart, the most informative first, and the variance of each over the
    codes of images. Of a VAE's posterior means those above `ACTIVE` are in use (1509.00519, §5.2).

    >>> order, variance = informative(np.array([[1.0, 0.0, -3.0], [1.0, 2.0, 3.0]]))
    >>> order.tolist(), variance.tolist()
    ([2, 1, 0], [9.0, 1.0, 0.0])
    """
    variance = np.asarray(z, np.float64).reshape(len(z), -1).var(axis=0)
    order = np.argsort(-variance, kind="stable")
    return order, variance[order]


def same_numbers(model: Any) -> bool:
    """Whether what the model encodes an image as is a code that it decodes: as many numbers, whatever their shape."""
    return bool(np.prod(encoded_shape(model)) == np.prod(code_shape(model)))


def check_encodes(model: Any) -> None:
    """Raises `UsageError`, before anything is computed, unless the codes of images are such as the model decodes."""
    if not same_numbers(model):
        raise UsageError(
            f"{type(model).__name__} encodes an image as {list(encoded_shape(model))} numbers, but decodes codes of "
            f"{list(code_shape(model))}: leave the images out, and draws of its prior are taken."
        )
