"""Shifted convolutions and the gated residual block of PixelCNN++ and PixelSNAIL (1701.05517 §2.3–2.6, 1712.09763).

Instead of masking a kernel, the map is padded on the sides that may be seen and cut on the others. A *down-shifted*
convolution sees its own row and the rows above, as far to the right as to the left; a *down-right-shifted* one sees
its own row and those above, its own column and those to the left. Both see their own position: it is the first layer,
shifted once more (`down_shift`, `right_shift`), that hides the pixel itself.

The four convolutions are functions that make a `WeightNormConv`, so that a block can be given one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nn.dropout import Dropout
from jaxgen.nn.masked import dense
from jaxgen.nn.weight_norm import WeightNormConv


def framed(x: Float[Array, "*s c"]) -> Float[Array, "*s c+1"]:
    """Pixels, 0 … 1, moved to −1 … 1, and a channel of ones, which tell the image from the padding."""
    return jnp.concatenate([2 * x - 1, jnp.ones_like(x[..., :1])], axis=-1)


def down_shift(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Each row one lower; the first becomes zeros."""
    return jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]


def right_shift(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Each column one further to the right; the first becomes zeros."""
    return jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]


def concat_elu(x: Float[Array, "*s c"]) -> Float[Array, "*s 2*c"]:
    """ELU of x and of −x, side by side (1603.05201)."""
    return jax.nn.elu(jnp.concatenate([x, -x], axis=-1))


def gated(x: Float[Array, "*s c"], both: Float[Array, "*s 2*c"]) -> Float[Array, "*s c"]:
    """x + a ⊙ σ(b), where a and b are the halves of `both`."""
    value, gate = jnp.split(both, 2, axis=-1)
    return x + value * jax.nn.sigmoid(gate)


def down_shifted(features: int, size: tuple[int, int] = (2, 3), stride: int = 1, **options: Any) -> WeightNormConv:
    """y(r,c) from x at rows s·r−k … s·r and columns s·c−k' … s·c+k', for a kernel of (k+1)×(2k'+1) and stride s."""
    side = (size[1] - 1) // 2
    return WeightNormConv(features, size, ((size[0] - 1, 0), (side, side)), stride, **options)


def down_right_shifted(
    features: int, size: tuple[int, int] = (2, 2), stride: int = 1, **options: Any
) -> WeightNormConv:
    """y(r,c) from x at rows s·r−k … s·r and columns s·c−k' … s·c, for a kernel of (k+1)×(k'+1) and stride s."""
    return WeightNormConv(features, size, ((size[0] - 1, 0), (size[1] - 1, 0)), stride, **options)


def down_shifted_up(features: int, target: tuple[int, int], **options: Any) -> WeightNormConv:
    """Twice as large, cut to `target`: y(r,c) from row ⌊r/2⌋ and column c/2, or for odd c from both nearest ones.

    Kernel 2×3 over the map with zeros put between: entry (t,s) reads (r−1+t, c−1+s) of that.
    """
    return _up(features, (2, 3), target, options)


def down_right_shifted_up(features: int, target: tuple[int, int], **options: Any) -> WeightNormConv:
    """Twice as large, cut to `target`: y(r,c) from (⌊r/2⌋, ⌊c/2⌋). Kernel 2×2, whose entries are read as above."""
    return _up(features, (2, 2), target, options)


def _up(features: int, size: tuple[int, int], target: tuple[int, int], options: dict[str, Any]) -> WeightNormConv:
    spread = [2 * -(-n // 2) - 1 for n in target]
    rows, columns = ((1, n - m + k - 2) for n, m, k in zip(target, spread, size))
    return WeightNormConv(features, size, (rows, columns), spread=2, **options)


class GatedResNet(nn.Module):
    """x + a ⊙ σ(b), where a and b come from two convolutions with concat-ELU and dropout between them.

    `conv(features, init_scale=…, dtype=…, name=…)` makes the convolutions: one of this module's, or `WeightNormConv`
    for 1×1. The first is joined by a 1×1 map of the short-cuts. The second has `init_scale` .1. PixelSNAIL has plain
    ELU as `nonlinearity`.
    """

    conv: Callable[..., nn.Module]
    dropout: float = 0.0
    train: bool = False
    dtype: str = "float32"
    nonlinearity: Callable[[Array], Array] = concat_elu

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        *shortcuts: Float[Array, "b h w _"],
        condition: Float[Array, "b h2 w2 k"] | None = None,
    ) -> Float[Array, "b h w c"]:
        """The map with what this layer adds. `condition` biases a and b; height and width 1 where all positions
        share it."""
        features = x.shape[-1]
        hidden = self.conv(features, dtype=self.dtype, name="first")(self.nonlinearity(x))
        if shortcuts:
            others = jnp.concatenate([self.nonlinearity(a) for a in shortcuts], axis=-1)
            hidden = hidden + WeightNormConv(features, dtype=self.dtype, name="shortcut")(others)
        hidden = Dropout(self.dropout, not self.train)(self.nonlinearity(hidden))
        both = self.conv(2 * features, init_scale=0.1, dtype=self.dtype, name="second")(hidden)
        if condition is not None:
            kernel = self.param("condition", nn.initializers.normal(0.05), (condition.shape[-1], 2 * features))
            both = both + dense(condition.astype(self.dtype), kernel.astype(self.dtype))
        return gated(x, both)
