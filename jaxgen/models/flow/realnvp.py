"""RealNVP: affine couplings over residual nets at several scales (1605.08803).

After a logit (`nn.bijectors.elementwise.Logit`), each scale has three couplings by checkerboards, a squeeze, and three
by halves of the channels, whose second half then leaves for the code; the last scale has four by checkerboards (§3.6).
The next scale's nets have twice the features.

Deviations: activation normalisation (1807.03039), which is set by the first batch and learned, stands after each
coupling in the place of batch normalisation (§3.7), so that the likelihood of an image minds no batch mates; the nets
are weight-normalised as in the paper and have no batch normalisation either; no penalty on weights.
"""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
from jaxtyping import Array, Float

from jaxgen.core.checks import at_least
from jaxgen.models.flow.base import FlowModel, check_squeezes
from jaxgen.nn.bijectors.base import Bijector, Chain
from jaxgen.nn.bijectors.coupling import Coupling
from jaxgen.nn.bijectors.elementwise import Logit
from jaxgen.nn.bijectors.linear import ActNorm
from jaxgen.nn.bijectors.squeeze import FactorOut, Flatten, Squeeze
from jaxgen.nn.weight_norm import WeightNormConv

SAME = ((1, 1), (1, 1))
LAST_SCALE = 0.1
"""Deviation of the nets' outputs at first: the map begins near the identity."""


class ResNet(nn.Module):
    """A 3×3 convolution, `blocks` residual blocks of two more with ReLU before each, and a 1×1 one to the outputs."""

    outputs: int
    blocks: int
    features: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w outputs"]:
        conv = functools.partial(WeightNormConv, self.features, (3, 3), SAME, dtype=self.dtype)
        x = conv(name="first")(x)
        for i in range(self.blocks):
            inner = conv(name=f"block_{i}_first")(nn.relu(x))
            x = x + conv(name=f"block_{i}_second")(nn.relu(inner))
        return WeightNormConv(self.outputs, init_scale=LAST_SCALE, dtype=self.dtype, name="outputs")(nn.relu(x))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealNVP(FlowModel):
    """`scales` scales of `couplings` couplings by checkerboards and as many by halves, of one more at the last, over
    residual nets of `blocks` blocks, of `features` features at the first scale. The defaults are the paper's for
    CIFAR-10. Sides must be even at all scales but the last."""

    scales: int = 2
    couplings: int = 3
    blocks: int = 8
    features: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, scales=1, couplings=1, blocks=1, features=1)
        check_squeezes("RealNVP", self.shape, self.scales - 1)

    @property
    def flow(self) -> Bijector:
        """The logit, and the scales, one inside the other."""
        return Chain((Logit(), *self._scale(0, self.shape)))

    def _scale(self, scale: int, shape: tuple[int, int, int]) -> tuple[Bijector, ...]:
        """From maps of that shape to codes."""
        h, w, c = shape
        last = scale == self.scales - 1
        board = self._layers("checkerboard", self.couplings + last, scale)
        if last:
            return (*board, Flatten(shape))
        halves = self._layers("halves", self.couplings, scale)
        rest = Chain(self._scale(scale + 1, (h // 2, w // 2, 2 * c)))
        return (*board, Squeeze(), *halves, FactorOut((h // 2, w // 2, 4 * c), rest))

    def _layers(self, mask: str, num: int, scale: int) -> tuple[Bijector, ...]:
        net = functools.partial(ResNet, blocks=self.blocks, features=self.features * 2**scale, dtype=self.dtype)
        layers = [(Coupling(net, mask, flipped=i % 2 == 1, kind="rescaled"), ActNorm()) for i in range(num)]
        return tuple(part for pair in layers for part in pair)
