"""Variational auto-encoder (1312.6114) with a discrete likelihood, and the importance bound of IWAE (1509.00519).

`p(z) = N(0, I)`, `q(z|x) = N(mean(x), e^log_var(x))`, `p(x|z) = Π_i p(x_i|z)`: Bernoulli for two levels, a softmax
over the levels otherwise. Both likelihoods are of the discrete image, so that the bound's bits/dim is true.

    ELBO(x) = E_q log p(x|z) − KL(q(z|x) ‖ p(z))                                         (1312.6114, eq. 3)
    L_k(x)  = E log 1/k Σ_i p(x|z_i) p(z_i) / q(z_i|x),  ELBO = L_1 ≤ L_2 ≤ … ≤ log p(x)  (1509.00519, eq. 8)

The nets are perceptrons with tanh, Glorot's initial weights and zero biases; 784–200–200–50 and back by default, as in
1509.00519. Deviation: the output bias starts at zero, not at the mean of the data.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxgen.core.capabilities import Encoder, ImportanceWeighted, Latent, Reconstructor
from jaxgen.core.checks import at_least
from jaxgen.core.images import bits_per_dim, from_float, to_float
from jaxgen.core.keys import example_keys
from jaxgen.core.model import Aux, Batch, Images, Objective, PRNGKey, Variables
from jaxgen.maths.distributions import Softmax, gaussian_kl, gaussian_log_prob
from jaxgen.nn.perceptron import Perceptron

SAMPLES_AT_ONCE = 50
"""Importance samples per pass of `iwae_bound`: bounds its memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAE(ImportanceWeighted, Latent, Encoder, Reconstructor):
    """A VAE over perceptrons. `hidden` are the encoder's layers; the decoder has them in reverse."""

    latent: int = 50
    hidden: tuple[int, ...] = (200, 200)
    dtype: str = "float32"

    conditioned_on: ClassVar = ()
    spherical: ClassVar = True
    lacks: ClassVar = {
        "Autoregressive": "its pixels are independent given a latent, which is integrated out",
        "Completer": "it has no encoder of partial images",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, latent=1, hidden=1)

    @property
    def likelihood(self) -> Softmax:
        """Bernoulli or softmax for every sub-pixel."""
        return Softmax(self.levels, self.shape[2])

    @property
    def encoder(self) -> Perceptron:
        return Perceptron(self.hidden, (("mean", self.latent), ("log_var", self.latent)), self.dtype)

    @property
    def decoder(self) -> Perceptron:
        values = math.prod(self.shape[:2] + self.likelihood.shape)
        return Perceptron(self.hidden[::-1], (("logits", values),), self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        encoder_key, decoder_key = jax.random.split(key)
        encoder = self.encoder.init(encoder_key, jnp.zeros((1, math.prod(self.shape))))
        decoder = self.decoder.init(decoder_key, jnp.zeros((1, self.latent)))
        return {"params": {"encoder": encoder["params"], "decoder": decoder["params"]}}

    def objectives(self) -> tuple[Objective, ...]:
        """One: minus the ELBO, averaged over the batch."""
        return (Objective("elbo", self._loss, trains=("encoder", "decoder"), examples="separable"),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        log_likelihood, kl = self.elbo_terms(variables, batch["image"], key)
        nats = -(log_likelihood - kl).mean()
        return nats, Aux({"nats": nats, "bits_per_dim": bits_per_dim(nats, self.shape), "kl": kl.mean()})

    def posterior(self, variables: Variables, image: Images) -> tuple[Float[Array, "b d"], Float[Array, "b d"]]:
        """Mean and log-variance of q(z|x)."""
        x = to_float(image, self.levels).reshape(len(image), -1)
        outputs: Any = self.encoder.apply({"params": variables["params"]["encoder"]}, x)
        return outputs

    def _outputs(self, variables: Variables, z: Array) -> Array:
        """What `likelihood` makes p(x|z) of, [b,h,w,…]."""
        (outputs,) = cast(Any, self.decoder.apply({"params": variables["params"]["decoder"]}, z))
        return cast(Array, outputs.reshape(len(z), *self.shape[:2], *self.likelihood.shape))

    def logits(self, variables: Variables, z: Float[Array, "b d"]) -> Float[Array, "b h w c levels"]:
        """Logits of each value of every sub-pixel under p(x|z)."""
        return self.likelihood.logits(self._outputs(variables, z))

    def log_likelihood(self, variables: Variables, image: Images, z: Float[Array, "b d"]) -> Float[Array, " b"]:
        """log p(x|z) in nats."""
        return self.likelihood.log_prob(self._outputs(variables, z), jnp.asarray(image)).sum(axis=(1, 2))

    def elbo_terms(
        self, variables: Variables, image: Images, key: PRNGKey
    ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """log p(x|z) at one z ~ q(z|x), and KL(q(z|x) ‖ p(z)) in closed form, nats: the ELBO is their difference."""
        mean, log_var = self.posterior(variables, image)
        keys = example_keys(key, len(mean))
        noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(keys)
        z = mean + jnp.exp(0.5 * log_var) * noise
        return self.log_likelihood(variables, image, z), gaussian_kl(mean, log_var)

    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """The ELBO of each image (nats) with one z per image: an unbiased estimate of a lower bound of log p(x)."""
        self.check_condition(condition, len(image))
        log_likelihood, kl = self.elbo_terms(variables, image, key)
        return log_likelihood - kl

    def iwae_bound(
        self, variables: Variables, image: Images, key: PRNGKey, k: int, condition: Any = None
    ) -> Float[Array, " b"]:
        """L_k of each image (nats): the log-mean of k importance weights, 50 of them in memory at a time.

        In expectation it rises with k towards log p(x); k = 1 estimates the ELBO, k = 5000 is usual for reporting NLL.
        """
        mean, log_var = self.posterior(variables, image)

        def log_weight(one: PRNGKey) -> Array:
            z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(one, mean.shape)
            prior = gaussian_log_prob(z, jnp.zeros_like(z), jnp.zeros_like(z))
            return self.log_likelihood(variables, image, z) + prior - gaussian_log_prob(z, mean, log_var)

        weights = jax.lax.map(log_weight, jax.random.split(key, k), batch_size=min(k, SAMPLES_AT_ONCE))
        return jax.nn.logsumexp(weights, axis=0) - math.log(k)

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """z ~ N(0, I)."""
        return jax.random.normal(key, (num, self.latent))

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The mean of p(x|z), rounded to the nearest level."""
        self.check_condition(condition, len(z))
        pmf = jax.nn.softmax(self.logits(variables, z))
        return from_float(pmf @ jnp.linspace(0.0, 1.0, self.levels), self.levels)

    def sample(self, variables: Variables, key: PRNGKey, num: int, condition: Any = None) -> UInt8[Array, "num h w c"]:
        """Draw z ~ N(0, I), then every sub-pixel from p(x|z)."""
        self.check_condition(condition, num)
        latent_key, pixel_key = jax.random.split(key)
        logits = self.logits(variables, self.prior(latent_key, num))
        return jax.random.categorical(pixel_key, logits).astype(jnp.uint8)

    def encode(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b d"]:
        """The posterior mean."""
        self.check_condition(condition, len(image))
        return self.posterior(variables, image)[0]

    def reconstruct(self, variables: Variables, image: Images, condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The image of the posterior mean."""
        return self.decode(variables, self.encode(variables, image, condition), condition)
