"""How alike the pixels of two sets of images are, position aside: what a glance at their brightness tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from jaxgen.core.judges import Judge


def histogram(image: UInt8[np.ndarray, "b h w c"], levels: int) -> Float[np.ndarray, "c levels"]:
    """The share of each value among the sub-pixels of a channel.

    >>> histogram(np.array([0, 1, 1, 1], np.uint8).reshape(1, 2, 2, 1), 2)
    array([[0.25, 0.75]])
    """
    counts = [np.bincount(image[..., k].reshape(-1), minlength=levels) for k in range(image.shape[-1])]
    return np.stack(counts) / image[..., 0].size


def total_variation(a: Float[np.ndarray, "c levels"], b: Float[np.ndarray, "c levels"]) -> float:
    """½ Σ |a − b| of two histograms, the mean over channels: 0 for equal ones, 1 for those that share no value."""
    return float(0.5 * np.abs(a - b).sum(axis=1).mean())


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelHistogram(Judge):
    """The total variation between the histograms of samples and data. A sampler can have them right and still draw
    noise: a floor to look at first, no measure of quality."""

    @property
    def figures(self) -> Mapping[str, Literal["lower", "higher"]]:
        return {"histogram_distance": "lower"}

    def judge(
        self, image: UInt8[np.ndarray, "num h w c"], real: UInt8[np.ndarray, "n h w c"], levels: int, condition: Any
    ) -> Mapping[str, float]:
        return {"histogram_distance": total_variation(histogram(image, levels), histogram(real, levels))}
