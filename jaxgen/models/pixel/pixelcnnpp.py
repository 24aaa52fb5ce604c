"""PixelCNN++: a mixture of discretised logistics over a net of shifted convolutions (1701.05517).

A pixel is one draw, its channels one after the other from one pass of the net: only the head relates them (eq. 3). The
values drawn are those of the levels, and later pixels see just these, so that samples come from the model that is
scored. Two levels have the same head as 256. Deviation: at `init`, no dropout is drawn and conditions count as zero.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Array, Bool

from jaxgen.core.checks import at_least
from jaxgen.core.model import Variables
from jaxgen.maths.distributions import LogisticMixture
from jaxgen.models.pixel.base import StandardisedModel, raster_context
from jaxgen.models.pixel.pixelcnnpp_net import PlusPlusNet, reach
from jaxgen.models.pixel.pixelcnnpp_walker import PlusPlusWalker


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelCNNPlusPlus(StandardisedModel):
    """`layers` gated ResNet layers of `features` features at each of `resolutions` resolutions, and as many on the way
    back; a mixture of `components` logistics. The defaults are the paper's for CIFAR-10, but for its dropout of ½.

    Sides need not divide by anything: a coarser map has half as many rows and columns, rounded up. A condition enters
    the gates of all layers.
    """

    layers: int = 5
    features: int = 160
    resolutions: int = 3
    components: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, layers=1, features=1, resolutions=1, components=1)

    @property
    def head(self) -> LogisticMixture:
        """A mixture of logistics, cut into as many bins as there are levels."""
        return LogisticMixture(self.levels, self.shape[2], self.components)

    @property
    def net(self) -> PlusPlusNet:
        """Both streams, down and up, and a 1×1 map to the outputs."""
        return PlusPlusNet(
            self.layers, self.features, self.resolutions, self.head.shape, self.dropout, self.dtype, self.remat
        )

    def walker(self, variables: Variables, width: int, num: int, condition: Array | None) -> PlusPlusWalker:
        """`PlusPlusWalker`."""
        return PlusPlusWalker(self.net, variables["params"], width, self.shape[2], num, self.levels, condition)

    def net_context(self, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """Of earlier pixels all channels where the net reaches them (`pixelcnnpp_net.reach`); the own one's before."""
        h, w, c = shape
        seen = reach(self.layers, self.resolutions, h, w)[:, :, None, :, :, None]
        own = np.eye(h * w, dtype=bool).reshape(h, w, 1, h, w, 1) & np.tril(np.ones((c, c), bool), -1)[:, None, None]
        return raster_context(shape) & (seen | own)
