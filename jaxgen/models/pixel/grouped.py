"""What the models whose features are split in colour groups have alike: settings, input channels and the last maps.

The groups are those of `nn.masked` (1601.06759, §3.4). The last maps are ReLU, 1×1, ReLU, 1×1, mask B, over the sum of
the last layer's residual stream and all layers' skip connections (table 1).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.core.checks import at_least
from jaxgen.core.dtypes import accumulator
from jaxgen.maths.distributions import Softmax
from jaxgen.models.pixel.base import PixelModel
from jaxgen.models.pixel.walker import Walker
from jaxgen.nn.masked import POINT, Colours, MaskedConv, colours, live_kernel, relu


class GroupedModel(PixelModel):
    """`layers` layers with `features` hidden features, `head_features` in the last two maps, and, with `marks`, an
    ink/no-ink and a ones channel beside the image's.

    The models have these as fields, each in its own order: it stands in the text by which a compressed file knows its
    model.
    """

    layers: int
    features: int
    head_features: int
    marks: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        c = self.shape[2]
        at_least(self, layers=1)
        at_least(self, features=c, head_features=c, why=f"they are split in {c} colour groups")

    @property
    def head(self) -> Softmax:
        """Bernoulli or softmax for every sub-pixel."""
        return Softmax(self.levels, self.shape[2])

    @property
    def for_net(self) -> dict[str, Any]:
        """The fields of a `GroupedNet`."""
        names = ("layers", "features", "head_features", "marks", "dropout", "dtype", "remat")
        sizes = {"channels": self.shape[2], "outputs": self.head.shape[-1]}
        return {name: getattr(self, name) for name in names} | sizes


class GroupedNet(nn.Module, kw_only=True):
    """Image in, logits out, `outputs` per sub-pixel: `layers` layers, and what stands before and behind them.

    `marks` adds an ink/no-ink channel (value > 0) and a channel of ones, which shows the padding. `remat` keeps only
    what goes from layer to layer for the backward pass.
    """

    layers: int
    features: int
    head_features: int
    channels: int
    outputs: int
    dropout: float = 0.0
    marks: bool = False
    dtype: str = "float32"
    remat: bool = False

    @property
    def stream(self) -> int:
        """Features of what goes from layer to layer."""
        return self.features

    @property
    def sources(self) -> Colours:
        """Colour groups of the input channels."""
        plain = tuple(range(self.channels))
        return (*plain, *plain, self.channels - 1) if self.marks else plain

    @property
    def last_maps(self) -> tuple[tuple[str, Colours, Colours], ...]:
        """Name, source and target groups of the last two 1×1 maps."""
        heads = colours(self.head_features, self.channels)
        target = tuple(np.repeat(np.arange(self.channels), self.outputs).tolist())
        return ("head", colours(self.stream, self.channels), heads), ("logits", heads, target)

    def pixels(self, x: Float[Array, "*s c"]) -> Float[Array, "*s i"]:
        """The input channels: x, 0 … 1, moved to −1 … 1, and the marks."""
        marks = [(x > 0).astype(x.dtype), jnp.ones_like(x[..., :1])] if self.marks else []
        return jnp.concatenate([2 * x - 1, *marks], axis=-1).astype(self.dtype)

    def results(self, x: Float[Array, "b h w s"]) -> Float[Array, "b h w c o"]:
        """Through the last maps, in float32 at least."""
        for name, source, target in self.last_maps:
            dtype = accumulator(jnp.dtype(self.dtype)).name if name == "logits" else self.dtype
            x = MaskedConv(POINT, "B", source, target, dtype, name=name)(relu(x.astype(dtype)))
        return x.reshape(*x.shape[:3], self.channels, self.outputs)


class GroupedWalker(Walker):
    """A `GroupedNet` pixel by pixel."""

    def __init__(self, net: Any, params: Any, width: int, batch: int, levels: int, condition: Array | None = None):
        super().__init__(net, width, net.channels, batch, levels, condition)
        self.last_maps = [
            (live_kernel(params[name]["kernel"], POINT, "B", source, target)[0], params[name]["bias"])
            for name, source, target in net.last_maps
        ]

    def results(self, x: Array) -> Array:
        """[b,c,o] of one pixel: its features [b,s] through the last maps."""
        (kernel, bias), (last, last_bias) = self.last_maps
        y = jax.nn.relu(x) @ kernel.astype(self.dtype) + bias.astype(self.dtype)
        y = jax.nn.relu(y).astype(accumulator(self.dtype)) @ last + last_bias
        return y.reshape(self.batch, self.channels, -1)
