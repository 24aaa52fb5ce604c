"""Codes as points of a plane: principal axes, and t-SNE (van der Maaten and Hinton, JMLR 9, 2008)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float

from jaxgen.core.errors import UsageError

Rows = Float[Array | np.ndarray, "n d"]

MOST_POINTS = 3000
"""Points that t-SNE is done for: more would take minutes, and hide each other."""

AXES = 50
"""Principal axes that t-SNE looks at, as of MNIST in the paper (§4.2)."""


def principal(z: Rows, k: int = 2) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, " k"]]:
    """Coordinates along the first k principal axes, and the share of the variance that each holds: the singular value
    decomposition of the centred rows. Axes that there are not hold zeros; of each axis the largest coordinate is
    positive, so that a picture is not mirrored by chance.

    >>> points, share = principal(np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]]))
    >>> [round(float(x), 4) for x in points[:, 0]], round(float(share[0]), 4)
    ([-1.6667, -1.6667, 3.3333], 1.0)
    """
    centred = np.asarray(z, np.float64) - np.mean(z, axis=0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    u, s = u[:, :k], np.concatenate([s, np.zeros(k)])
    points = u * s[: u.shape[1]]
    points = np.pad(points, ((0, 0), (0, k - points.shape[1])))
    far = points[np.abs(points).argmax(axis=0), np.arange(k)]
    total = (s**2).sum()
    return points * np.where(far < 0, -1.0, 1.0), s[:k] ** 2 / (total or 1.0)


def tsne(z: Rows, perplexity: float = 30.0, seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Points whose neighbours are those of the rows, by scikit-learn's t-SNE from the first two principal axes on.

    `perplexity` is about how many neighbours a point has, lowered to a third of the others where they are few.
    Distances between groups and their sizes mean nothing. The same seed gives the same points.
    Raises `UsageError` for fewer than four rows, for more than `MOST_POINTS`, and for a perplexity below 1.
    """
    if not 4 <= len(z) <= MOST_POINTS:
        raise UsageError(f"t-SNE wants 4 to {MOST_POINTS:,} points, got {len(z):,}.")
    if not perplexity >= 1:
        raise UsageError(f"perplexity must be at least 1, got {perplexity:g}.")
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points, _ = principal(z, min(AXES, z.shape[1]))
    start = np.pad(points[:, :2], ((0, 0), (0, max(0, 2 - points.shape[1]))))
    start = start / (start[:, 0].std() or 1.0) * 1e-4
    model = TSNE(2, perplexity=min(perplexity, (len(z) - 1) / 3), init=start, random_state=seed)
    with threadpool_limits(1):  # several add up in an order of their own, and wait for each other on a busy machine
        return np.asarray(model.fit_transform(points.astype(np.float32)), np.float64)
