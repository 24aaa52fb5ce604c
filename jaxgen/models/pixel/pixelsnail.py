"""PixelSNAIL: gated convolutions by turns with attention over all earlier pixels (1712.09763).

Attention sees everything before a pixel, at any depth: the context is full. A pixel of several channels is one draw
from a mixture of logistics, in which a channel's mean moves with the channels before it; so is one of more than two
levels. Binary images of one channel have a Bernoulli head.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Array, Bool

from jaxgen.core.checks import at_least
from jaxgen.core.model import Variables
from jaxgen.maths.distributions import Head, LogisticMixture, Softmax
from jaxgen.models.pixel.base import StandardisedModel, raster_context
from jaxgen.models.pixel.pixelsnail_net import SnailNet
from jaxgen.models.pixel.pixelsnail_walker import SnailWalker


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelSNAIL(StandardisedModel):
    """`blocks` blocks of `layers` gated ResNet layers and one attention; the defaults are the paper's for CIFAR-10.

    `features` are those of every layer; keys have `key_size` of them, values half of them. `components` are those of
    the mixture of logistics. A condition enters every gate; `dropout` acts between the two maps of each gated ResNet.
    """

    blocks: int = 12
    layers: int = 4
    features: int = 256
    key_size: int = 16
    components: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, blocks=1, layers=1, features=2, key_size=1, components=1)

    @property
    def head(self) -> Head:
        """Bernoulli for binary images of one channel, else a mixture of logistics."""
        c = self.shape[2]
        return Softmax(2, 1) if (self.levels, c) == (2, 1) else LogisticMixture(self.levels, c, self.components)

    @property
    def net(self) -> SnailNet:
        """First maps, `blocks` blocks, a 1×1 map to the outputs."""
        return SnailNet(
            self.blocks,
            self.layers,
            self.features,
            self.key_size,
            self.head.shape,
            self.dropout,
            self.dtype,
            self.remat,
        )

    def walker(self, variables: Variables, width: int, num: int, condition: Array | None) -> SnailWalker:
        """`SnailWalker`."""
        height = self.shape[0] * self.shape[1] // width
        return SnailWalker(self.net, variables["params"], (height, width, self.shape[2]), num, self.levels, condition)

    def net_context(self, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """All that comes before."""
        return raster_context(shape)
