"""Images made smaller by Lanczos windows, the down-sampler of Deep Image Prior's super-resolution (1711.10925, §3.2),
and maps made larger by straight lines between their pixels.

With a `lobes`, the window is the middle of a sinc under a wider one,

    L(t) = sinc(t) sinc(t/a)  for |t| < a,  else 0.

A pixel of the small image is the mean of the pixels about the centre of the square of `factor`² that it stands for,
weighed by L(distance/factor). At the edge the pixels that are there share the weights of those that are not, as in
Pillow, whose filter LANCZOS is that of three lobes. Deviation: the paper's code repeats the pixels at the edge.

Both are products with a matrix for rows and one for columns, which compile soon and which a CPU multiplies fast.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.core.errors import UsageError


def lanczos(t: Float[np.ndarray, "*shape"], lobes: int = 2) -> Float[np.ndarray, "*shape"]:
    """L of each number.

    >>> lanczos(np.array([0.0, 0.5, 1.0, 2.5])).round(4).tolist()
    [1.0, 0.5732, 0.0, 0.0]
    """
    return np.where(np.abs(t) < lobes, np.sinc(t) * np.sinc(t / lobes), 0.0)


def lanczos_weights(side: int, factor: int, lobes: int = 2) -> Float[np.ndarray, "small side"]:
    """What each pixel of a row weighs in each of the small row, float32. Rows sum to one.

    Raises `UsageError` unless `factor` divides the side.

    >>> lanczos_weights(8, 2).sum(axis=1).round(6).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if factor < 1 or side % factor:
        raise UsageError(f"down-sampling: wanted sides that {factor} divides, got {side}: crop the image.")
    centre = factor * (np.arange(side // factor) + 0.5)
    weights = lanczos((np.arange(side) + 0.5 - centre[:, None]) / factor, lobes)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def downsampled(x: Float[Array | np.ndarray, "b h w c"], factor: int, lobes: int = 2) -> Float[Array, "b h2 w2 c"]:
    """Images of a `factor`-th of the sides, not rounded and not clipped: the window overshoots at edges.

    Raises `UsageError` unless `factor` divides both sides.

    >>> downsampled(jnp.ones((1, 8, 4, 3)), 4).shape
    (1, 2, 1, 3)
    """
    rows, columns = (jnp.asarray(lanczos_weights(side, factor, lobes)) for side in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, jnp.asarray(x))


def doubled(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Maps of twice the sides, by straight lines between the centres of pixels; beyond the last one it goes on.

    >>> doubled(jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1))[0, 0].ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    rows, columns = (jnp.asarray(_doubling(side), x.dtype) for side in x.shape[1:3])
    x = jnp.einsum("ih,bhwc->biwc", rows, x)
    return jnp.einsum("jw,bhwc->bhjc", columns, x)


def _doubling(side: int) -> Float[np.ndarray, "large side"]:
    """What each pixel of a row weighs in each of one twice as long."""
    centre = (np.arange(2 * side)[:, None] + 0.5) / 2 - 0.5
    distance = np.abs(centre.clip(0, side - 1) - np.arange(side))
    return np.maximum(0.0, 1.0 - distance)
