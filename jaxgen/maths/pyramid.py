"""The Laplacian pyramid of an image (Burt & Adelson 1983): a coarse image and what each finer size adds to it.

With d to half the sides and u to twice the sides,

    I_0 = I,   I_{k+1} = d(I_k),   h_k = I_k − u(d(I_k)),   I_k = u(I_{k+1}) + h_k.

Whatever d and u are, the last equation gives the image back. Here both smooth with the binomial weights 1 3 3 1 along
each side, which lie evenly around the four pixels that one coarse pixel stands for: constants stay constant, and
nothing is shifted. Beyond the edge the pixels at the edge go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.errors import UsageError


def reduced(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """d: images of half the sides, smoothed. Raises `UsageError` for an odd side.

    >>> reduced(jnp.array([0.0, 0.0, 8.0, 8.0]).reshape(1, 1, 4, 1).repeat(2, axis=1)).ravel().tolist()
    [1.0, 7.0]
    """
    check_sides(x.shape[1:3], 1, "an image")
    return _along(_reduced_rows, x)


def expanded(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """u: images of twice the sides, smooth between the pixels.

    >>> expanded(jnp.array([0.0, 8.0]).reshape(1, 1, 2, 1))[0, 0].ravel().tolist()
    [0.0, 2.0, 6.0, 8.0]
    """
    return _along(_expanded_rows, x)


def laplacian(x: Float[Array, "b h w c"], halvings: int) -> tuple[Float[Array, "b h2 w2 c"], list[Array]]:
    """I_K for K `halvings`, and h_{K−1} … h_0, coarse ones first. Raises `UsageError` where 2^K does not divide the
    sides.

    >>> coarse, residuals = laplacian(jnp.ones((1, 8, 4, 3)), 2)
    >>> coarse.shape, [h.shape for h in residuals]
    ((1, 2, 1, 3), [(1, 4, 2, 3), (1, 8, 4, 3)])
    """
    check_sides(x.shape[1:3], halvings, "an image")
    residuals: list[Array] = []
    for _ in range(halvings):
        coarse = reduced(x)
        residuals.insert(0, x - expanded(coarse))
        x = coarse
    return x, residuals


def assembled(coarse: Float[Array, "b h w c"], residuals: Sequence[Array]) -> Float[Array, "b h2 w2 c"]:
    """The image of a pyramid: u and the next residual, from the coarse image on.

    >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1) / 16
    >>> bool((assembled(*laplacian(x, 2)) == x).all())
    True
    """
    x = coarse
    for residual in residuals:
        x = expanded(x) + residual
    return x


def laplacian_l1(difference: Float[Array, "b h w c"]) -> Float[Array, " b"]:
    """Σ_k mean |L_k| over the levels of the Laplacian pyramid of the difference of two images: Lap₁ of 1707.05776, by
    means in place of weighted sums. Sides are halved as long as both are even and above 4.

    >>> laplacian_l1(jnp.full((1, 8, 8, 1), -0.5)).tolist()  # a constant has no details
    [0.5]
    """
    sides, halvings = difference.shape[1:3], 0
    while all(side % 2 == 0 and side > 4 for side in sides):
        sides, halvings = (sides[0] // 2, sides[1] // 2), halvings + 1
    coarse, residuals = laplacian(difference, halvings)
    return jnp.stack([jnp.abs(level).mean(axis=(1, 2, 3)) for level in (*residuals, coarse)]).sum(axis=0)


def check_sides(sides: Sequence[int], halvings: int, owner: str) -> None:
    """Raises `UsageError` unless sides can be halved so often. `owner` is what has them."""
    if any(side % 2**halvings for side in sides):
        h, w = sides
        raise UsageError(
            f"{owner}: wanted sides that {2**halvings} divides, as they are halved {halvings} times, got {h}×{w}: "
            "halve them fewer times, or crop or resize the images."
        )


def _along(rows: Callable[[Array], Array], x: Array) -> Array:
    """`rows`, a map of the second axis, for the sides of images in turn."""
    return rows(rows(x).swapaxes(1, 2)).swapaxes(1, 2)


def _reduced_rows(x: Array) -> Array:
    x = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="edge")
    above, first, second, below = x[:, :-2:2], x[:, 1:-1:2], x[:, 2::2], x[:, 3::2]
    return (above + 3 * first + 3 * second + below) / 8


def _expanded_rows(x: Array) -> Array:
    b, h, w, c = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="edge")
    above, own, below = x[:, :-2], x[:, 1:-1], x[:, 2:]
    return jnp.stack([above + 3 * own, 3 * own + below], axis=2).reshape(b, 2 * h, w, c) / 4
