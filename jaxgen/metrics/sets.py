"""Two sets of images compared by their features: which metrics there are, and what each of them tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxgen.core.errors import UsageError, nearest
from jaxgen.metrics.frechet import frechet_distance
from jaxgen.metrics.kernel import LEAST, kernel_distance
from jaxgen.metrics.neighbours import K, prdc


class Metric(NamedTuple):
    """The figures that it gives and which way each is better, and how many images it needs on either side."""

    figures: Mapping[str, Literal["lower", "higher"]]
    least: int


METRICS: Mapping[str, Metric] = {
    "fd": Metric({"fd": "lower"}, 2),
    "kid": Metric({"kid": "lower"}, LEAST),
    "prdc": Metric({"precision": "higher", "recall": "higher", "density": "higher", "coverage": "higher"}, K + 1),
}
"""The metrics by name."""


def check_metrics(metrics: Sequence[str], num: int) -> None:
    """Raises `UsageError`, before any feature is computed, for a metric that is not known, and for fewer images than
    one needs."""
    known = tuple(METRICS)
    if not metrics:
        raise UsageError(f"wanted metrics, got none: name some of {', '.join(known)}.")
    for name in metrics:
        if name not in known:
            raise UsageError(f"there is no metric {name!r}.{nearest(name, known)} Known are {', '.join(known)}.")
        if num < METRICS[name].least:
            raise UsageError(
                f"{name} wants at least {METRICS[name].least} images on either side, got {num}: give more."
            )


def compared(
    samples: Float[np.ndarray, "n d"],
    real: Float[np.ndarray, "m d"],
    metrics: Sequence[str] = tuple(METRICS),
    seed: int = 0,
) -> dict[str, float]:
    """The figures of `metrics` of samples beside real images, by the features of both; of "kid" the standard error
    "kid_stderr" too. `seed` draws the subsets of KID. Raises `UsageError` as `check_metrics` does.

    >>> x = np.random.default_rng(0).normal(size=(20, 4))
    >>> {name: round(value, 3) for name, value in compared(x + 1, x, ("fd",)).items()}
    {'fd': 4.0}
    >>> compared(x, x, ("prdc",))
    {'precision': 1.0, 'recall': 1.0, 'density': 1.2, 'coverage': 1.0}
    """
    check_metrics(metrics, min(len(samples), len(real)))
    figures: dict[str, float] = {}
    if "fd" in metrics:
        figures["fd"] = frechet_distance(samples, real)
    if "kid" in metrics:
        figures["kid"], figures["kid_stderr"] = kernel_distance(samples, real, seed)
    if "prdc" in metrics:
        figures |= prdc(real, samples)
    return figures
