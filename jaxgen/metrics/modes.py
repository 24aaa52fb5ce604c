"""How many modes of the data samples have, and in which shares: the figures of mode collapse.

Of points around known centres, a point is *good* within three standard deviations of the nearest one, and a mode is
covered where some point is good there (1705.07761, §5.1). Of images, modes are labels that a classifier reads
(1611.02163, §3.3.1; 1705.07761, §5.2). With q(i) the share of samples of mode i and p(i) that of the data,

    KL = Σ_i q(i) log q(i) / p(i)   nats.

Few samples have a KL of their own: n draws of the data over k modes come to about (k − 1) / 2n (of the χ² of their
shares), and a mode counts only when it is drawn. Figures belong to a number of samples, and images' ones to a
classifier: beside them stand its accuracy and the floor, the same of as many real images.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Integer

from jaxgen.core.errors import UsageError

DEVIATIONS = 3.0
"""How far from its centre a point is good, in standard deviations."""

STACKED: Mapping[str, Literal["lower", "higher"]] = MappingProxyType(
    {"kl": "lower", "modes": "higher", "floor_kl": "lower", "floor_modes": "higher"}
)
"""The figures of StackedMNIST, and which way they are better."""


def point_modes(x: Any, centres: Float[np.ndarray, "k d"], std: float) -> dict[str, float]:
    """Of points [n,d]: "modes" covered; the share of "good" points; and "kl", of the good points' modes to equal
    shares, infinite where no point is good.

    >>> point_modes(np.array([[0.0], [9.0], [9.1], [0.1], [5.0]]), np.array([[0.0], [9.0]]), std=0.1)
    {'modes': 2.0, 'good': 0.8, 'kl': 0.0}
    """
    x = np.asarray(x, np.float64)
    squared = ((x[:, None] - centres) ** 2).sum(axis=-1)
    nearest = squared.argmin(axis=1)
    good = squared.min(axis=1) <= (DEVIATIONS * std) ** 2
    count = np.bincount(nearest[good], minlength=len(centres))
    kl = mode_kl(count, np.full(len(centres), 1 / len(centres))) if good.any() else np.inf
    return {"modes": float((count > 0).sum()), "good": float(good.mean()), "kl": float(kl)}


def label_modes(label: Integer[np.ndarray, " n"], shares: Float[np.ndarray, " k"]) -> dict[str, float]:
    """Of labels below k: "modes" that occur, and "kl" to the data's shares.

    >>> label_modes(np.array([0, 0, 1, 1]), np.array([0.25, 0.25, 0.5]))
    {'modes': 2.0, 'kl': 0.6931471805599453}
    """
    count = np.bincount(label, minlength=len(shares))
    return {"modes": float((count > 0).sum()), "kl": mode_kl(count, shares)}


def mode_kl(count: Integer[np.ndarray, " k"], shares: Float[np.ndarray, " m"]) -> float:
    """Σ q log q/p, nats, of samples counted by mode to the data's shares; infinite where a mode is none of the data.

    Raises `UsageError` where nothing is counted, for more modes than shares, and shares that do not sum to one.
    """
    if len(count) != len(shares):
        raise UsageError(f"wanted as many shares as modes, got {len(shares)} shares for {len(count)} modes.")
    if not count.sum():
        raise UsageError("wanted at least one sample of which the mode is known, got none.")
    if not (np.all(shares >= 0) and np.isclose(shares.sum(), 1.0)):
        raise UsageError(f"wanted shares of modes that sum to one, got a sum of {shares.sum():g}: divide by it.")
    q = count / count.sum()
    own = q > 0
    if (shares[own] == 0).any():
        return float("inf")
    return float((q[own] * np.log(q[own] / shares[own])).sum())


def stacked_modes(
    samples: Integer[np.ndarray, "n 3"], real: Integer[np.ndarray, "m 3"], seed: int = 0
) -> dict[str, float]:
    """Of StackedMNIST samples, whose digits a classifier has read channel by channel: "kl" to equal shares of the
    thousand modes, nats, as the papers count it, and "modes"; beside them "floor_kl" and "floor_modes", of as many
    stacks of real digits read by the same classifier, drawn by the seed: what a perfect sampler would come to.

    Raises `UsageError` without samples or real digits.

    >>> one = np.full((500, 3), 7)  # always the same stack
    >>> figures = stacked_modes(one, one)
    >>> round(figures["kl"], 4), figures["modes"]
    (6.9078, 1.0)
    """
    if not len(samples) or not len(real):
        raise UsageError(f"wanted samples and real images, got {len(samples)} and {len(real)}.")
    digits = real.ravel()
    draw = np.random.Generator(np.random.Philox(key=[seed, len(samples)]))
    stacks = digits[draw.integers(len(digits), size=samples.shape)]
    shares = np.full(1000, 1e-3)
    figures, floor = (label_modes(read @ [100, 10, 1], shares) for read in (samples, stacks))
    floor = {f"floor_{name}": figure for name, figure in floor.items()}
    return {name: {**figures, **floor}[name] for name in STACKED}
