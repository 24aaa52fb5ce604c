"""Importance weighted auto-encoder (1509.00519): the VAE's nets, trained on L_k.

    L_k(x) = E log 1/k Σ_i w_i,  w_i = p(x|z_i) p(z_i) / q(z_i|x),  z_i = mean(x) + σ(x)·ε_i      (eq. 8)

The gradient is that of the log-mean by reparametrisation, Σ_i ŵ_i ∇ log w_i (eq. 13 and 14). One layer of stochastic
units; the k samples of all images of a batch go through the decoder as one matrix. Deviation: as in `vae`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from jaxtyping import Array, Float

from jaxgen.core import conditions
from jaxgen.core.checks import at_least
from jaxgen.core.images import bits_per_dim
from jaxgen.core.model import Aux, Batch, Images, Objective, PRNGKey, Variables
from jaxgen.maths.bounds import importance_bound
from jaxgen.models.latent.base import LatentGaussian


@dataclasses.dataclass(frozen=True, kw_only=True)
class IWAE(LatentGaussian):
    """An IWAE with `k` samples per image, in training and in `log_prob`; nets, head and condition are those of
    `LatentGaussian`."""

    k: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, k=1)

    def objectives(self) -> tuple[Objective, ...]:
        """One: minus L_k, averaged over the batch."""
        return (Objective("importance", self._loss, trains=("encoder", "decoder"), examples="separable"),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        drop_key, noise_key = jax.random.split(key)
        condition = conditions.drop(self.condition, self.trained_on(batch), drop_key)
        nats = -self._bound(variables, batch["image"], noise_key, condition).mean()
        return nats, Aux({"nats": nats, "bits_per_dim": bits_per_dim(nats, self.shape)})

    def _bound(self, variables: Variables, image: Images, key: PRNGKey, condition: Any) -> Float[Array, " b"]:
        posterior = self.posterior(variables, image, condition)
        noise = self.noise(key, len(image), self.k)
        return importance_bound(self.log_weights(variables, image, posterior, noise, condition))

    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """L_k of each image (nats) by one draw of k codes: an unbiased estimate of a lower bound of log p(x)."""
        self.check_condition(condition, len(image))
        return self._bound(variables, image, key, condition)
