"""Gated PixelCNN: two stacks of gated convolutions without a blind spot, conditional on anything (1606.05328).

With enough layers it sees everything before a pixel; `context` declares what fewer layers reach, and the tests hold
it against the Jacobian.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Array, Bool

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.models.pixel.base import raster_context
from jaxgen.models.pixel.gated_net import FIRST, GatedNet
from jaxgen.models.pixel.gated_walker import GatedWalker
from jaxgen.models.pixel.grouped import GroupedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatedPixelCNN(GroupedModel):
    """`layers` gated layers of `features` features with `kernel`×`kernel` convolutions, `head_features` in the last two
    maps.

    Two levels have a Bernoulli head (one logit), more a softmax over the levels. A condition enters every gate.
    `dropout` acts on each layer's gated features; `marks` also feeds an ink/no-ink and a ones channel.
    """

    layers: int = 15
    features: int = 64
    kernel: int = 3
    head_features: int = 32
    marks: bool = False

    piece: ClassVar = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise UsageError(
                f"GatedPixelCNN: kernel must be odd and at least 3, so that it has a centre, got {self.kernel}."
            )

    @property
    def net(self) -> GatedNet:
        """7×7 convolutions, `layers` gated layers with skip connections, two 1×1 layers."""
        return GatedNet(kernel=self.kernel, **self.for_net)

    def walker(self, variables: Variables, width: int, num: int, condition: Array | None) -> GatedWalker:
        """`GatedWalker`."""
        return GatedWalker(self.net, variables["params"], width, num, self.levels, condition)

    def net_context(self, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """All that comes before within 3 + layers·⌊kernel/2⌋ rows and columns."""
        h, w, _ = shape
        down = np.arange(h)[:, None, None, None] - np.arange(h)[None, None, :, None]
        across = np.arange(w)[None, :, None, None] - np.arange(w)[None, None, None, :]
        reach = FIRST // 2 + self.layers * (self.kernel // 2)
        near = (down <= reach) & (np.abs(across) <= reach)
        return raster_context(shape) & near[:, :, None, :, :, None]
