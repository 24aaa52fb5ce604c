"""NICE: additive couplings of vectors, and one scale for each number of the code (1410.8516).

Every other number of the image passes a coupling, those that passed before are moved by the next, and a diagonal matrix
exp(s) weighs the result (§3.3, 4.1): the log-determinant is Σ s. The nets are perceptrons with ReLU.

The image enters as (v + u)/levels, in [0, 1]. Log-likelihoods published for NICE are densities there, D log levels
above the bound of the discrete image: `scores` gives them as "continuous_log_prob", the higher the better.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Batch, PRNGKey, Variables
from jaxgen.models.flow.base import FlowModel
from jaxgen.nn.bijectors.base import Bijector, Chain
from jaxgen.nn.bijectors.coupling import Coupling
from jaxgen.nn.bijectors.linear import Scaling
from jaxgen.nn.bijectors.squeeze import Alternate, Flatten


class ReluPerceptron(nn.Module):
    """Dense layers with ReLU, and a dense map to the outputs."""

    outputs: int
    layers: int
    features: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b i"]) -> Float[Array, "b outputs"]:
        for i in range(self.layers):
            x = nn.relu(nn.Dense(self.features, dtype=self.dtype, name=f"layer_{i}")(x))
        return nn.Dense(self.outputs, dtype=self.dtype, name="shift")(x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NICE(FlowModel):
    """`couplings` additive couplings over perceptrons of `layers` layers of `features` features, and a logistic prior.
    The defaults are the paper's for MNIST."""

    couplings: int = 4
    layers: int = 5
    features: int = 1000

    prior_name: ClassVar = "logistic"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, couplings=1, layers=1, features=1)
        if math.prod(self.shape) < 2:
            raise UsageError(f"NICE: wanted images of at least 2 numbers, one to move by the other, got {self.shape}.")

    @property
    def flow(self) -> Bijector:
        """Couplings of every other number, and the diagonal matrix."""
        net = functools.partial(ReluPerceptron, layers=self.layers, features=self.features, dtype=self.dtype)
        layers = [Coupling(net, flipped=i % 2 == 1, kind="additive") for i in range(self.couplings)]
        return Chain((Flatten(self.shape), Alternate(), *layers, Scaling()))

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """Those of every density, and "continuous_log_prob": nats of the continuous image, 0 to 1, as published."""
        scores: dict[str, Any] = super().scores(variables, batch, key)
        continuous = math.prod(self.shape) * math.log(self.levels) - scores["nats"]
        return {**scores, "continuous_log_prob": jnp.asarray(continuous)}
