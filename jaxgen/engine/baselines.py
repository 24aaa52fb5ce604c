"""What likelihoods are compared with: independent pixels with the training set's histograms, and uniform ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxgen.data.dataset import seen_images

BLOCK = 2**20
"""Sub-pixels that are counted at a time: 8 MB of indices."""


def baselines(dataset: Any, batch: int = 1000) -> dict[str, float]:
    """Bits/dim on the test split (else the validation split) of two models that anyone can beat.

    "uniform" gives each of the levels the same probability. "histogram" gives each sub-pixel its own distribution,
    counted on the training split with add-one smoothing. Both see the data as a model does, transformed.
    """
    scored = dataset.valid if dataset.test is None else dataset.test
    train, held_out = (_counts(seen_images(dataset, split, batch), dataset.levels) for split in (dataset.train, scored))
    log_p = np.log2((train + 1) / (train + 1).sum(1, keepdims=True))
    return {
        "uniform": float(np.log2(dataset.levels)),
        "histogram": float(-(held_out * log_p).sum() / held_out.sum()),
    }


def _counts(images: Iterable[np.ndarray], levels: int) -> np.ndarray:
    """int64[sub-pixels, levels]: how often each sub-pixel has each value."""
    counts: Any = 0
    for image in images:
        flat = image.reshape(len(image), -1)
        places = np.arange(flat.shape[1]) * levels
        for rows in np.array_split(flat, -(-flat.size // BLOCK)):
            counts = counts + np.bincount((places + rows).ravel(), minlength=len(places) * levels)
    return counts.reshape(-1, levels)
