"""PixelCNN: masked convolutions (1601.06759, §3.5, figure 5, table 1).

The stack of masked convolutions has a blind spot: pixels above and to the right, outside a triangle. `context`
declares it, and the tests hold it against the Jacobian.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from jaxgen.models.pixel import MaskedPixelModel, raster_context
from jaxgen.nn.pixel import ConvLayer


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelCNN(MaskedPixelModel):
    """PixelCNN with `layers` residual blocks; the paper's MNIST and CIFAR-10 models have 15 blocks."""

    layers: int = 15
    features: int = 64

    layer: ClassVar = ConvLayer
    piece: ClassVar = 2

    def seen(self, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """Row r: c−3−L ≤ j; row r−d, d ≤ L+3: c−3−L ≤ j ≤ c+min(d+2, L+3)."""
        h, w, _ = shape
        d = np.arange(h)[:, None, None, None] - np.arange(h)[None, None, :, None]
        off = np.arange(w)[None, None, None, :] - np.arange(w)[None, :, None, None]
        reach = self.layers + 3
        seen = (d <= reach) & (off >= -reach) & (off <= np.minimum(d + 2, reach))
        seen |= (d == 0) & (off <= 0) & (off >= -reach)
        return raster_context(shape) & seen[:, :, None, :, :, None]
