"""The Fréchet distance of two Gaussians, fitted to features of two sets of images (1706.08500, eq. 6), in float64.

    FD = ‖μ₁ − μ₂‖² + Tr Σ₁ + Tr Σ₂ − 2 Σᵢ √λᵢ(Σ₁Σ₂)

Σ₁Σ₂ has the eigenvalues of the symmetric √Σ₁ Σ₂ √Σ₁, none of them negative but by rounding: no square root of a matrix
that is not symmetric, and no complex number, is ever taken. With the features of an Inception net the figure is called
FID; with any other net's it has that net's name. It is biased: above its value for infinitely many images, the more so
the fewer they are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxgen.core.errors import UsageError


def moments(x: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Mean and covariance of features, the latter unbiased. Raises `UsageError` for fewer than 2 images."""
    if len(x) < 2:
        raise UsageError(f"a Fréchet distance needs the covariance of at least 2 images, got {len(x)}: give more.")
    x = np.asarray(x, np.float64)
    mean = x.mean(axis=0)
    return mean, (x - mean).T @ (x - mean) / (len(x) - 1)


def frechet(
    mean_a: Float[np.ndarray, " d"],
    cov_a: Float[np.ndarray, "d d"],
    mean_b: Float[np.ndarray, " d"],
    cov_b: Float[np.ndarray, "d d"],
) -> float:
    """The distance of two Gaussians by their moments: a squared 2-Wasserstein distance, at least 0.

    >>> frechet(np.zeros(2), np.eye(2), np.ones(2), 4 * np.eye(2))
    4.0
    """
    values, vectors = np.linalg.eigh(np.asarray(cov_a, np.float64))
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    shared = np.linalg.eigvalsh(root @ np.asarray(cov_b, np.float64) @ root).clip(min=0)
    apart = ((np.asarray(mean_a, np.float64) - mean_b) ** 2).sum()
    return float(max(0.0, apart + np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(shared).sum()))


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """The distance of the Gaussians fitted to two sets of features. Raises `UsageError` for fewer than 2 images.

    >>> x = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> frechet_distance(x, x), round(frechet_distance(x, x + 3), 6)
    (0.0, 18.0)
    """
    return frechet(*moments(a), *moments(b))
