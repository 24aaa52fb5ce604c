"""Row LSTM: a one-dimensional convolutional LSTM that runs down the rows (1601.06759, §3.1).

Its context is a triangle above the pixel, which grows by one column to each side with every row. `context` declares
it, and the tests hold it against the Jacobian.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from jaxgen.models.pixel import MaskedPixelModel, raster_context
from jaxgen.nn.pixel import RowLayer


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowLSTM(MaskedPixelModel):
    """Row LSTM with `layers` layers; the paper's CIFAR-10 model has 12 of 128 features."""

    layers: int = 7
    features: int = 16

    layer: ClassVar = RowLayer

    def seen(self, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """Row r: c−3−L ≤ j; row r−d: c−d−3−L ≤ j ≤ c+d+2."""
        h, w, _ = shape
        d = np.arange(h)[:, None, None, None] - np.arange(h)[None, None, :, None]
        off = np.arange(w)[None, None, None, :] - np.arange(w)[None, :, None, None]
        seen = (off >= -d - 3 - self.layers) & (off <= d + 2)
        return raster_context(shape) & seen[:, :, None, :, :, None]
