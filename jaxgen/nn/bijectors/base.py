"""What a bijector is, and what comes of several in a row.

A bijector is a frozen dataclass of settings and keeps no arrays: parameters come from `init` and go into `forward` and
`inverse`. `log_det` is log |det ∂y/∂x| of each example (nats), in float32 at least, so that a density moves by

    log p(x) = log p(y) + log_det,  y = forward(x)                                        (1410.8516, eq. 2)
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.dtypes import accumulator
from jaxgen.core.model import PRNGKey

Params = dict[str, Any]

Examples = Float[Array, "b ..."]

Moved = tuple[Float[Array, "b ..."], Float[Array, " b"]]
"""What `forward` gives: y of each example, and log |det ∂y/∂x|, nats."""


class Bijector(abc.ABC):
    """An invertible map of each example of a batch. What it is conditioned on, if it heeds that, is [b,…,k]."""

    @abc.abstractmethod
    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """Fresh parameters, empty where there are none. Layers that standardise do so on this batch."""

    @abc.abstractmethod
    def forward(self, params: Params, x: Examples, condition: Array | None = None) -> Moved:
        """y of each example, and log |det ∂y/∂x| in nats."""

    @abc.abstractmethod
    def inverse(self, params: Params, y: Examples, condition: Array | None = None) -> Examples:
        """x of each y."""


@dataclasses.dataclass(frozen=True)
class Chain(Bijector):
    """One bijector after the other: the log-determinants add up."""

    parts: tuple[Bijector, ...]

    def _named(self) -> tuple[tuple[str, Bijector], ...]:
        return tuple((f"{i}_{type(part).__name__}", part) for i, part in enumerate(self.parts))

    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """Each part is initialised on what those before it make of the batch; parts without parameters are left out."""
        params: Params = {}
        for subkey, (name, part) in zip(jax.random.split(key, len(self.parts)), self._named()):
            params[name] = part.init(subkey, x, condition)
            x = part.forward(params[name], x, condition)[0]
        return {name: subkey for name, subkey in params.items() if subkey}

    def forward(self, params: Params, x: Examples, condition: Array | None = None) -> Moved:
        """From the first part to the last."""
        total = zeros(x)
        for name, part in self._named():
            x, log_det = part.forward(params.get(name, {}), x, condition)
            total += log_det
        return x, total

    def inverse(self, params: Params, y: Examples, condition: Array | None = None) -> Examples:
        """From the last part to the first."""
        for name, part in reversed(self._named()):
            y = part.inverse(params.get(name, {}), y, condition)
        return y


def zeros(x: Examples) -> Float[Array, " b"]:
    """The log-determinants of a map that keeps volumes."""
    return jnp.zeros(len(x), accumulator(x.dtype))


def summed(x: Examples) -> Float[Array, " b"]:
    """The sum over all but the first axis."""
    return x.sum(axis=tuple(range(1, x.ndim)))
