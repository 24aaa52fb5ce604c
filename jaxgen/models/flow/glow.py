"""Glow: activation normalisation, an invertible 1×1 convolution and a coupling, again and again (1807.03039).

Each scale squeezes the map and takes `steps` steps (§3, fig. 2); half of its channels then leave for the code, their
mean and scale learned from the half that stays, and the last scale's are learned for each channel, or, with classes,
for each channel and class (as in the paper's code). A coupling's net has 3×3, 1×1 and 3×3 convolutions.

Deviations: the last convolution of a net begins near zero, not at zero, so that all of its parameters learn from the
first step; the first two are weight-normalised with an initialisation by data, where the code has them normalise
activations; couplings by `nn.bijectors.coupling`, 1×1 convolutions by `nn.bijectors.linear`, which say theirs.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from jaxgen.core.checks import at_least
from jaxgen.core.conditions import Classes
from jaxgen.core.errors import UsageError
from jaxgen.models.flow.base import FlowModel, check_squeezes
from jaxgen.nn import initial
from jaxgen.nn.bijectors.base import Bijector, Chain
from jaxgen.nn.bijectors.coupling import Coupling
from jaxgen.nn.bijectors.linear import ActNorm, InvertibleConv, LearnedPrior, TriangularConv
from jaxgen.nn.bijectors.squeeze import FactorOut, Flatten, Squeeze
from jaxgen.nn.strided import Conv
from jaxgen.nn.weight_norm import WeightNormConv

NEAR_ZERO = initial.normal(1e-3)


class CouplingNet(nn.Module):
    """3×3 and 1×1 convolutions of `features` features with ReLU, and a 3×3 one to the outputs."""

    outputs: int
    features: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w outputs"]:
        x = nn.relu(WeightNormConv(self.features, (3, 3), ((1, 1), (1, 1)), dtype=self.dtype, name="first")(x))
        x = nn.relu(WeightNormConv(self.features, dtype=self.dtype, name="second")(x))
        return Conv(self.outputs, (3, 3), dtype=self.dtype, kernel_init=NEAR_ZERO, name="outputs")(x)


class SplitNet(nn.Module):
    """A 3×3 convolution: mean and scale of what leaves, from what stays."""

    outputs: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w outputs"]:
        return Conv(self.outputs, (3, 3), dtype=self.dtype, kernel_init=NEAR_ZERO, name="outputs")(x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Glow(FlowModel):
    """`scales` scales of `steps` steps over nets of `features` features. The defaults are the paper's for CIFAR-10.

    `coupling` is "affine" or "additive"; the 1×1 `convolution` is "plu", in triangular factors, or "plain". With
    condition=Classes(…) the prior is that of the class. Sides must be even at all scales.
    """

    scales: int = 3
    steps: int = 32
    features: int = 512
    coupling: str = "affine"
    convolution: str = "plu"

    conditioned_on: ClassVar = (Classes,)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, scales=1, steps=1, features=1)
        for name, known in (("coupling", ("affine", "additive")), ("convolution", ("plu", "plain"))):
            if getattr(self, name) not in known:
                raise UsageError(f'Glow: {name} must be "{known[0]}" or "{known[1]}", got {getattr(self, name)!r}.')
        check_squeezes("Glow", self.shape, self.scales)

    @property
    def flow(self) -> Bijector:
        """The scales, one inside the other."""
        return Chain(self._scale(0, self.shape))

    def _scale(self, scale: int, shape: tuple[int, int, int]) -> tuple[Bijector, ...]:
        """From maps of that shape to codes."""
        h, w, c = shape[0] // 2, shape[1] // 2, 4 * shape[2]
        steps = [part for i in range(self.steps) for part in self._step(scale * self.steps + i)]
        if scale == self.scales - 1:
            return (Squeeze(), *steps, LearnedPrior(), Flatten((h, w, c)))
        leaving = Coupling(functools.partial(SplitNet, dtype=self.dtype), kind="rescaled")
        rest = Chain(self._scale(scale + 1, (h, w, c // 2)))
        return (Squeeze(), *steps, leaving, FactorOut((h, w, c), rest))

    def _step(self, number: int) -> tuple[Bijector, ...]:
        mixing = TriangularConv(number) if self.convolution == "plu" else InvertibleConv()
        net = functools.partial(CouplingNet, features=self.features, dtype=self.dtype)
        return ActNorm(), mixing, Coupling(net, kind=self.coupling)
