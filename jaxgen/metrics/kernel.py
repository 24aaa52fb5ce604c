"""The kernel distance of two sets of features (KID, 1801.01401): an unbiased estimate of MMD², in float64.

    k(x, y) = (xᵀy / d + 1)³
    MMD²    = mean over i ≠ j of k(xᵢ, xⱼ) + mean over i ≠ j of k(yᵢ, yⱼ) − 2 · mean over i, j of k(xᵢ, yⱼ)

Being unbiased, it is about 0 for two sets of one distribution, below it as often as above, and it may be compared
between sets of different sizes, of which the Fréchet distance's bias depends.

Deviation: the paper's subsets of 1000 are drawn anew each time and overlap; here they are disjoint, so that their
estimates are independent and the standard error of their mean is true.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxgen.core.errors import UsageError

SUBSET, SUBSETS = 1000, 10
"""How many images a subset has, as in the paper, and how many subsets there are at least: of fewer images then."""

LEAST = 4
"""Images of a set at least: two subsets of two."""


class KernelDistance(NamedTuple):
    """The mean over the subsets, and its standard error."""

    value: float
    stderr: float


def mmd2(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """The unbiased estimate of MMD² from two sets of features, of at least 2 images each.

    >>> round(mmd2(np.array([[0.0], [0.0]]), np.array([[1.0], [1.0]])), 6)
    7.0
    """
    within = 0.0
    for x in (a, b):
        kernel = _kernel(x, x)
        within += (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))
    return float(within - 2 * _kernel(a, b).mean())


def kernel_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], seed: int = 0) -> KernelDistance:
    """KID of two sets of features: the mean over disjoint subsets, drawn by `seed`. Raises `UsageError` for fewer than
    4 images in either set."""
    n = min(len(a), len(b))
    if n < LEAST:
        raise UsageError(f"a kernel distance needs at least {LEAST} images on either side, got {n}: give more.")
    subsets = max(min(SUBSETS, n // 2), n // SUBSET)
    rng = np.random.default_rng(seed)
    parts = [np.array_split(np.asarray(x, np.float64)[rng.permutation(len(x))], subsets) for x in (a, b)]
    estimates = np.array([mmd2(x, y) for x, y in zip(*parts)])
    return KernelDistance(float(estimates.mean()), float(estimates.std(ddof=1) / np.sqrt(subsets)))


def _kernel(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    root: np.ndarray = x @ y.T / x.shape[1] + 1.0
    return root * root * root
