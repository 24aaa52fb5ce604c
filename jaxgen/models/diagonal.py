"""Diagonal BiLSTM: two LSTMs that run along the diagonals from the two upper corners (1601.06759, §3.2).

As published, the wiring has a hole: with a mask-A first layer, columns c < W−4 never see the last pixel of the row
above, at any depth. `wiring="full"`, the default, mends it: the first layer's right-to-left stream reads a mask-B
embedding of the image, which is safe because that stream is shifted down by one row, and feeds nothing else.
`wiring="paper"` is the published one; `context` declares its hole, and the tests hold both against the Jacobian.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool

from jaxgen.core import UsageError
from jaxgen.models.pixel import MaskedPixelModel, raster_context
from jaxgen.nn.pixel import DiagonalLayer


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
            raise UsageError(f'wiring must be "full" or "paper", got {self.wiring!r}')

    @property
    def mend(self) -> bool:
        """Whether the right-to-left stream of the first layer has an embedding of its own."""
        return self.wiring == "full"

    def seen(self, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """Everything before; with `wiring="paper"`, columns c < W−4 miss the last sub-pixel of the row above."""
        seen = raster_context(shape)
        h, w, _ = shape
        if self.wiring == "paper":
            for r in range(1, h):
                seen[r, : max(w - 4, 0), :, r - 1, w - 1, -1] = False
        return seen
