"""Histograms of oriented gradients (Dalal & Triggs, CVPR 2005) that can be differentiated, for outlines that are asked
for (1609.03552, §4.1, "sketching brush").

The gradient of a pixel is the difference of its neighbours; it turns with the outline, whichever side is bright. Of
strength m at the angle θ it counts

    m · max(0, cos 2(θ − θ_k)),  θ_k = kπ/n,

for the k-th of n orientations. A cell's histogram is the mean of its pixels, divided by its length. Deviations: cells
are normalised each by itself, and pixels are shared between orientations by a cosine, not by a straight line.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ORIENTATIONS = 8
FLOOR = 0.1
"""Added to the length of a histogram: what is fainter is no outline."""


def cell_of(shape: tuple[int, ...]) -> int:
    """The side of a cell in pixels for images [h, w, …]: a sixth of the shorter side, and at least 2."""
    return max(2, min(shape[:2]) // 6)


def outlines(x: Float[Array, "b h w c"], cell: int) -> Float[Array, "b h2 w2 k"]:
    """The histogram of each cell of images, of their mean over channels; what does not fill a cell is left out.

    >>> ramp = jnp.broadcast_to(jnp.arange(8.0)[None, :, None, None], (1, 8, 8, 1))
    >>> [int(outlines(image, 4)[0, 0, 0].argmax()) for image in (ramp, ramp.transpose(0, 2, 1, 3), -ramp)]
    [4, 0, 4]
    """
    grey = jnp.pad(x.mean(axis=-1), ((0, 0), (1, 1), (1, 1)), mode="edge")
    down, right = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1], grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    strength = jnp.sqrt(down**2 + right**2 + 1e-12)
    twice = 2.0 * np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS
    # m cos 2θ and m sin 2θ without an angle, which has no derivative where the gradient is nothing.
    cosine, sine = (right**2 - down**2) / strength, 2.0 * right * down / strength
    votes = jax.nn.relu(cosine[..., None] * np.cos(twice) + sine[..., None] * np.sin(twice))
    histogram = pooled(votes, cell)
    return histogram / (jnp.sqrt((histogram**2).sum(axis=-1, keepdims=True) + 1e-12) + FLOOR)


def pooled(x: Float[Array, "b h w k"], cell: int) -> Float[Array, "b h2 w2 k"]:
    """The mean of each cell."""
    b, h, w, k = x.shape
    h2, w2 = h // cell, w // cell
    return x[:, : h2 * cell, : w2 * cell].reshape(b, h2, cell, w2, cell, k).mean(axis=(2, 4))
