"""Variational auto-encoder (1312.6114) with a discrete likelihood; β-VAE (Higgins et al., ICLR 2017), free bits
(1606.04934).

    ELBO(x) = E_q log p(x|z) − KL(q(z|x) ‖ p(z))                                            (1312.6114, eq. 3)
    loss    = −E_q log p(x|z) + β Σ_d max(free_bits, KL_d)                                  (1606.04934, eq. 15)

KL_d is that of one number of the code, in the mean of the batch. β = 1 without free bits is minus the ELBO. β = 0
leaves the KL term out: an auto-encoder with noise of its own, whose width falls to nothing. Whatever the loss, the
figures are those of the ELBO.

The dense nets are 784–200–200–50 and back by default, as in 1509.00519, with Glorot's initial weights and zero biases.
Deviation: the output bias starts at zero, not at the mean of the data.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core import conditions
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim
from jaxgen.core.model import Aux, Batch, Images, Objective, PRNGKey, Variables
from jaxgen.maths.bounds import elbo
from jaxgen.maths.distributions import gaussian_kl
from jaxgen.models.latent.base import LatentGaussian


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAE(LatentGaussian):
    """A VAE; its nets, head and condition are those of `LatentGaussian`.

    `beta` weighs the KL term of the loss, in which each number of the code has `free_bits` nats that cost no less when
    they are not used. Neither changes `log_prob`.
    """

    beta: float = 1.0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta", "free_bits"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"VAE: {name} must be a number of at least 0, got {getattr(self, name)}.")

    def objectives(self) -> tuple[Objective, ...]:
        """One: minus the ELBO, averaged over the batch. Free bits are of a batch's mean, and then mix its examples."""
        examples: Literal["mixed", "separable"] = "mixed" if self.free_bits else "separable"
        return (Objective("elbo", self._loss, trains=("encoder", "decoder"), examples=examples),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        drop_key, noise_key = jax.random.split(key)
        condition = conditions.drop(self.condition, self.trained_on(batch), drop_key)
        log_likelihood, kl, std = self.elbo_terms(variables, batch["image"], noise_key, condition)
        nats = -elbo(log_likelihood, kl.sum(axis=1)).mean()
        paid = jnp.maximum(self.free_bits, kl.mean(axis=0)).sum()
        metrics = {
            "nats": nats,
            "bits_per_dim": bits_per_dim(nats, self.shape),
            "kl": kl.sum(axis=1).mean(),
            "log_likelihood": log_likelihood.mean(),
            "posterior_std": std.mean(),
        }
        return -log_likelihood.mean() + self.beta * paid, Aux(metrics)

    def elbo_terms(
        self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None
    ) -> tuple[Float[Array, " b"], Float[Array, "b d"], Float[Array, "b d"]]:
        """log p(x|z) at one z ~ q(z|x) and the KL of each number of the code in closed form, both in nats, and the
        standard deviations of q(z|x)."""
        mean, log_var = self.posterior(variables, image, condition)
        std = jnp.exp(0.5 * log_var)
        z = mean + std * self.noise(key, len(mean), 1)[:, 0]
        return (
            self.log_likelihood(variables, image, z, condition),
            gaussian_kl(mean[..., None], log_var[..., None]),
            std,
        )

    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """The ELBO of each image (nats) with one z per image: an unbiased estimate of a lower bound of log p(x)."""
        self.check_condition(condition, len(image))
        log_likelihood, kl, _ = self.elbo_terms(variables, image, key, condition)
        return elbo(log_likelihood, kl.sum(axis=1))

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "nats" of each image, −ELBO, and "bits_per_dim"; the ELBO's terms "log_likelihood" and "kl"; and
        "posterior_std", the mean standard deviation of q(z|x), 1 where that is the prior."""
        log_likelihood, kl, std = self.elbo_terms(variables, batch["image"], key, self.condition_of(batch))
        nats = -elbo(log_likelihood, kl.sum(axis=1))
        figures = {"nats": nats, "bits_per_dim": bits_per_dim(nats, self.shape)}
        return figures | {"log_likelihood": log_likelihood, "kl": kl.sum(axis=1), "posterior_std": std.mean(axis=1)}
