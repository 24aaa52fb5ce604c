"""Row LSTM: a one-dimensional convolutional LSTM that runs down the rows (1601.06759, §3.1).

Its context is a triangle above the pixel, which grows by one column to each side with every row. `context` declares
it, and the tests hold it against the Jacobian.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool

from jaxgen.models.pixel import PixelModel, raster_context
from jaxgen.nn.pixel import PixelNet, RowLayer


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowLSTM(PixelModel):
    """Row LSTM with `layers` layers; the paper's CIFAR-10 model has 12 of 128 features."""

    layers: int = 7
    features: int = 16

    @property
    def net(self) -> PixelNet:
        """7×7 mask A, row LSTM layers (input-to-state 1×3 mask B, state-to-state 1×3), two 1×1 layers."""
        return self._net(RowLayer)

    def context(self) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """Row r: c−3−L ≤ j; row r−d: c−d−3−L ≤ j ≤ c+d+2."""
        h, w, _ = self.shape
        d = np.arange(h)[:, None, None, None] - np.arange(h)[None, None, :, None]
        off = np.arange(w)[None, None, None, :] - np.arange(w)[None, :, None, None]
        seen = (off >= -d - 3 - self.layers) & (off <= d + 2)
        return raster_context(self.shape) & seen[:, :, None, :, :, None]
