"""One recurrent layer as a model of its own, so that the engine can train it: for the benchmarks only.

The "image" is the layer's input of 2h features, scaled to 0 … 1 and shifted by a learned vector (which makes the
gradient flow into the input, as it does inside a net); the loss is the mean square of the h features that come out.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from jaxgen.core.images import to_float
from jaxgen.core.model import Aux, Batch, ImageModel, Objective, Variables
from jaxgen.models.pixel.pixelrnn_net import DiagonalLayer, RowLayer


class _Row(RowLayer):
    @nn.compact
    def __call__(self, x: Array) -> Array:  # type: ignore[override]
        x = x + self.param("shift", nn.initializers.zeros, x.shape[-1:])
        return self.hidden(x, x)


class _Diagonal(DiagonalLayer):
    @nn.compact
    def __call__(self, x: Array) -> Array:  # type: ignore[override]
        x = x + self.param("shift", nn.initializers.zeros, x.shape[-1:])
        return self.hidden(x, x)


KINDS = {"RowLSTM": _Row, "DiagonalBiLSTM": _Diagonal}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerModel(ImageModel):
    """A layer of `kind` with `features` hidden features, on maps `shape` = (h, w, 2·features)."""

    kind: str
    features: int

    @property
    def net(self) -> nn.Module:
        """The layer with its shift."""
        return KINDS[self.kind](features=self.features, channels=1, dropout=0.0, dtype="float32", train=True)

    def init(self, key: Key[Array, ""], batch: Batch) -> Variables:
        """Fresh parameters."""
        return dict(self.net.init(key, jnp.zeros((1, 2, 2, self.shape[2]))))

    def objectives(self) -> tuple[Objective, ...]:
        """One: the mean square of the output."""
        names = jax.eval_shape(self.init, jax.random.key(0), {})["params"]
        return (Objective("square", self.loss, tuple(names), examples="separable"),)

    def loss(self, variables: Variables, batch: Batch, key: Any) -> tuple[Array, Aux]:
        """Mean square of the output."""
        return (self.net.apply(variables, to_float(batch["image"], self.levels)) ** 2).mean(), Aux({})
