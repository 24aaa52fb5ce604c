"""Coupling layers: a part of the input passes unchanged, and says how the rest is shifted and scaled.

    y₁ = x₁,   y₂ = x₂·s(x₁) + t(x₁),   log_det = Σ log s(x₁)                             (1605.08803, eq. 7–8)

The inverse costs as much as the map itself, whatever the net that gives s and t. What s is made of has a name:

    additive   s = 1                                                                      (1410.8516, eq. 4)
    rescaled   s = exp(r·tanh h), r learned for each channel                              (1605.08803, §4.1)
    affine     s = ε + (1 − ε)·σ(h + 2), so that layers begin near the identity           (1807.03039, code)

Deviation: ε is 0 in the paper's code; here no scale falls below ε = 1/16, so that the inverse, which divides by it,
cannot magnify rounding without bound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxgen.core.dtypes import accumulator
from jaxgen.core.errors import UsageError
from jaxgen.core.model import PRNGKey
from jaxgen.nn.bijectors.base import Bijector, Examples, Moved, Params, summed, zeros

COUPLINGS = ("additive", "rescaled", "affine")
MASKS = ("halves", "checkerboard")
LEAST_SCALE = 1 / 16
"""Of an affine coupling: ε above."""


@dataclasses.dataclass(frozen=True)
class Coupling(Bijector):
    """A coupling layer.

    `net(outputs)` is the Linen module that maps what passes to `outputs` channels. By the mask "halves" the first half
    of the channels passes, by "checkerboard" every other pixel of a map does, and zeros stand for the rest; `flipped`
    lets the other part pass. With `conditional` the net sees the condition as further channels.

    Raises `UsageError` for an unknown mask or kind.
    """

    net: Callable[[int], nn.Module]
    mask: str = "halves"
    flipped: bool = False
    kind: str = "affine"
    conditional: bool = False

    def __post_init__(self) -> None:
        for what, name, known in (("mask", self.mask, MASKS), ("coupling", self.kind, COUPLINGS)):
            if name not in known:
                raise UsageError(f"unknown {what} {name!r}: choose {', '.join(known[:-1])} or {known[-1]}.")

    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """The net's parameters, and r = 1 for a rescaled coupling."""
        passing, moved = self._split(x)
        net: Any = self._net(moved).init(key, self._seen(passing, condition))
        return {"net": net["params"]} | ({"scale": jnp.ones(moved.shape[-1])} if self.kind == "rescaled" else {})

    def forward(self, params: Params, x: Examples, condition: Array | None = None) -> Moved:
        """Shift and scale the moved part by what the other one says."""
        passing, moved = self._split(x)
        shift, log_scale = self._moves(params, passing, moved, condition)
        if log_scale is None:
            return self._joined(passing, moved + shift), zeros(x)
        return self._joined(passing, moved * jnp.exp(log_scale) + shift), summed(self._only_moved(log_scale))

    def inverse(self, params: Params, y: Examples, condition: Array | None = None) -> Examples:
        """The part that passed says how the other one was moved."""
        passing, moved = self._split(y)
        shift, log_scale = self._moves(params, passing, moved, condition)
        moved = moved - shift
        return self._joined(passing, moved if log_scale is None else moved * jnp.exp(-log_scale))

    def _net(self, moved: Array) -> nn.Module:
        return self.net(moved.shape[-1] * (1 if self.kind == "additive" else 2))

    def _seen(self, passing: Array, condition: Array | None) -> Array:
        return jnp.concatenate([passing, condition], axis=-1) if self.conditional and condition is not None else passing

    def _moves(self, params: Params, passing: Array, moved: Array, condition: Array | None) -> tuple[Array, Any]:
        """The shift, and the logarithm of the scale, None where that is 1."""
        outputs: Any = self._net(moved).apply({"params": params["net"]}, self._seen(passing, condition))
        outputs = outputs.astype(accumulator(outputs.dtype))
        if self.kind == "additive":
            return outputs, None
        shift, raw = jnp.split(outputs, 2, axis=-1)
        if self.kind == "rescaled":
            return shift, params["scale"] * jnp.tanh(raw)
        return shift, jnp.log(LEAST_SCALE + (1 - LEAST_SCALE) * jax.nn.sigmoid(raw + 2.0))

    def _split(self, x: Array) -> tuple[Array, Array]:
        """What passes, and what is moved."""
        if self.mask == "halves":
            first, second = jnp.split(x, [(x.shape[-1] + 1) // 2], axis=-1)
        else:
            first = jnp.where(checkerboard(*x.shape[1:3]), x, 0.0)
            second = x - first
        return (second, first) if self.flipped else (first, second)

    def _joined(self, passing: Array, moved: Array) -> Array:
        if self.mask == "halves":
            return jnp.concatenate([moved, passing] if self.flipped else [passing, moved], axis=-1)
        return passing + self._only_moved(moved)

    def _only_moved(self, x: Array) -> Array:
        """Zero where a pixel passes."""
        if self.mask == "halves":
            return x
        return jnp.where(checkerboard(*x.shape[1:3]) == self.flipped, x, 0.0)


def checkerboard(h: int, w: int) -> np.ndarray:
    """`bool[h,w,1]`: every other pixel, the first among them.

    >>> checkerboard(2, 3)[..., 0].astype(int).tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    return ((np.arange(h)[:, None] + np.arange(w)) % 2 == 0)[..., None]
