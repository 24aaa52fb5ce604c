"""Whether samples lie among the data, and all of the data among samples: by nearest neighbours of features, in float64.

Improved precision and recall (1904.06991, eq. 1 and 2), density and coverage (2002.09797, eq. 4 and 5). With B(x) the
ball around x as far as its k-th nearest neighbour in its own set, x itself not counted:

    precision  share of samples that lie in B of some real image
    recall     share of real images that lie in B of some sample
    density    1/k · the mean over samples of how many B of real images they lie in: may be above 1
    coverage   share of real images whose B holds some sample

Precision and density tell of quality, recall and coverage of variety. A single outlier among the real images has a
large ball: density and coverage mind that less. Balls are closed. k = 5 for all four, as in 2002.09797.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from jaxgen.core.errors import UsageError

K = 5
"""Which neighbour bounds a ball."""

CHUNK = 1000
"""Rows of a matrix of distances that are in memory at a time."""


def prdc(real: Float[np.ndarray, "n d"], samples: Float[np.ndarray, "m d"], k: int = K) -> dict[str, float]:
    """ "precision", "recall", "density" and "coverage". Raises `UsageError` unless both sets have more than k images.

    >>> x = np.arange(10.0)[:, None]
    >>> prdc(x, x, k=1)
    {'precision': 1.0, 'recall': 1.0, 'density': 2.8, 'coverage': 1.0}
    """
    if k < 1:
        raise UsageError(f"k must be at least 1, the nearest neighbour, got {k}.")
    if min(len(real), len(samples)) <= k:
        raise UsageError(
            f"precision and coverage need more than {k} images on either side, as many neighbours as a ball reaches "
            f"over, got {min(len(real), len(samples))}: give more."
        )
    real_radius, radius = (_radii(x, k) for x in (real, samples))
    balls = np.zeros(len(samples))
    recalled, covered = (np.zeros(len(real), bool) for _ in range(2))
    for rows, squared in _squared_distances(real, samples):
        inside = squared <= real_radius[rows, None]
        balls += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
        recalled[rows] = (squared <= radius).any(axis=1)
    return {
        "precision": float((balls > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(balls.mean() / k),
        "coverage": float(covered.mean()),
    }


def _radii(x: Float[np.ndarray, "n d"], k: int) -> Float[np.ndarray, " n"]:
    """The squared distance of each row from its k-th nearest neighbour among the others."""
    radii = np.empty(len(x))
    for rows, squared in _squared_distances(x, x):
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return radii


def _squared_distances(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]
) -> Iterator[tuple[slice, Float[np.ndarray, "rows m"]]]:
    """The squared distances of `a`'s rows from all of `b`'s, some rows at a time."""
    centre = np.asarray(a, np.float64).mean(axis=0)  # far from the origin the products below would lose digits
    a, b = a - centre, b - centre
    lengths = (b**2).sum(axis=1)
    for start in range(0, len(a), CHUNK):
        rows = slice(start, min(start + CHUNK, len(a)))
        scale = (a[rows] ** 2).sum(axis=1)[:, None] + lengths
        squared = scale - 2 * a[rows] @ b.T
        # What rounding alone may leave of two equal rows counts as no distance.
        yield rows, np.where(squared < 1e-12 * scale, 0.0, squared)
