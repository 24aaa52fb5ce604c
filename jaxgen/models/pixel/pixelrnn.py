"""PixelCNN, Row LSTM and Diagonal BiLSTM: one paper, three layers (1601.06759, §3, figures 4 and 5, table 1).

PixelCNN has a blind spot, up and to the right, outside a triangle. Row LSTM is a one-dimensional convolutional LSTM
that runs down the rows; its context is a triangle above the pixel, which grows by one column to each side with every
row. The Diagonal BiLSTM's two LSTMs run along the diagonals from the two upper corners. As published, its wiring has a
hole: with a mask-A first layer, columns c < W−4 never see the last pixel of the row above, at any depth.
`wiring="full"`, the default, mends it: the first layer's right-to-left stream reads a mask-B embedding of the image,
which is safe because that stream is shifted down by one row, and feeds nothing else. `wiring="paper"` is the published
one.

`context` declares what each sees, holes included, and the tests hold it against the Jacobian.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Array, Bool

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.models.pixel.base import raster_context
from jaxgen.models.pixel.grouped import GroupedModel
from jaxgen.models.pixel.pixelrnn_net import ConvLayer, DiagonalLayer, PixelNet, RowLayer
from jaxgen.models.pixel.pixelrnn_walker import PixelWalker


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedPixelModel(GroupedModel):
    """The models of 1601.06759: `layers` layers with `features` hidden features, `head_features` in the last two maps.

    Two levels have a Bernoulli head (one logit), more a softmax over the levels. `dropout` acts on each layer's hidden
    features; `marks` also feeds an ink/no-ink and a ones channel.
    """

    layers: int
    features: int
    head_features: int = 32
    marks: bool = False

    layer: ClassVar[Any]
    """The layer of `pixelrnn_net` that tells the models apart."""

    @property
    def net(self) -> PixelNet:
        """7×7 mask A, `layers` layers with residual and skip connections, two 1×1 layers."""
        return PixelNet(layer=self.layer, mend=self.mend, **self.for_net)

    @property
    def mend(self) -> bool:
        """Whether the first layer's right-to-left stream has an embedding of its own."""
        return False

    def walker(self, variables: Variables, width: int, num: int, condition: Array | None) -> PixelWalker:
        """`PixelWalker`."""
        return PixelWalker(self.net, variables["params"], width, num, self.levels, condition)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelCNN(MaskedPixelModel):
    """PixelCNN with `layers` residual blocks; the paper's MNIST and CIFAR-10 models have 15 blocks."""

    layers: int = 15
    features: int = 64

    layer: ClassVar = ConvLayer
    piece: ClassVar = 2

    def net_context(self, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """Row r: c−3−L ≤ j; row r−d, d ≤ L+3: c−3−L ≤ j ≤ c+min(d+2, L+3)."""
        h, w, _ = shape
        d = np.arange(h)[:, None, None, None] - np.arange(h)[None, None, :, None]
        off = np.arange(w)[None, None, None, :] - np.arange(w)[None, :, None, None]
        reach = self.layers + 3
        seen = (d <= reach) & (off >= -reach) & (off <= np.minimum(d + 2, reach))
        seen |= (d == 0) & (off <= 0) & (off >= -reach)
        return raster_context(shape) & seen[:, :, None, :, :, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowLSTM(MaskedPixelModel):
    """Row LSTM with `layers` layers; the paper's CIFAR-10 model has 12 of 128 features."""

    layers: int = 7
    features: int = 16

    layer: ClassVar = RowLayer

    def net_context(self, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """Row r: c−3−L ≤ j; row r−d: c−d−3−L ≤ j ≤ c+d+2."""
        h, w, _ = shape
        d = np.arange(h)[:, None, None, None] - np.arange(h)[None, None, :, None]
        off = np.arange(w)[None, None, None, :] - np.arange(w)[None, :, None, None]
        seen = (off >= -d - 3 - self.layers) & (off <= d + 2)
        return raster_context(shape) & seen[:, :, None, :, :, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiagonalBiLSTM(MaskedPixelModel):
    """Diagonal BiLSTM with `layers` layers; the paper's MNIST model has 7 of 16 features, CIFAR-10's 12 of 128."""

    layers: int = 7
    features: int = 16
    wiring: Literal["full", "paper"] = "full"

    layer: ClassVar = DiagonalLayer

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wiring not in ("full", "paper"):
            raise UsageError(f'DiagonalBiLSTM: wiring must be "full" or "paper", got {self.wiring!r}.')

    @property
    def mend(self) -> bool:
        """Whether the right-to-left stream of the first layer has an embedding of its own."""
        return self.wiring == "full"

    def net_context(self, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """Everything before; with `wiring="paper"`, columns c < W−4 miss the last sub-pixel of the row above."""
        seen = raster_context(shape)
        h, w, _ = shape
        if self.wiring == "paper":
            for r in range(1, h):
                seen[r, : max(w - 4, 0), :, r - 1, w - 1, -1] = False
        return seen
