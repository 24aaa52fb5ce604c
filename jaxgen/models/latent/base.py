"""What VAE and IWAE share: a Gaussian code, encoder and decoder, a discrete likelihood, and L_k for scoring.

`p(z) = N(0, I)`, `q(z|x) = N(mean(x), e^log_var(x))`, `p(x|z)` a distribution of discrete pixels that are independent
given z, so that bits/dim is true: Bernoulli, a softmax over the levels, or a mixture of discretised logistics.
Conditional on y, both nets are told it, and bounds are of log p(x|y); the prior stays the same (1406.5298, M2's).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxgen.core import conditions
from jaxgen.core.capabilities import Encoder, ImportanceWeighted, Latent, Reconstructor
from jaxgen.core.checks import at_least, one_of
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.keys import example_keys
from jaxgen.core.model import Batch, Images, PRNGKey, Variables
from jaxgen.maths.bounds import importance_bound_in_chunks
from jaxgen.maths.distributions import Head, LogisticMixture, Softmax
from jaxgen.nn.convolutional import ConvDecoder, ConvEncoder
from jaxgen.nn.perceptron import Perceptron

SAMPLES_AT_ONCE = 50
"""Importance samples per pass of `iwae_bound`: bounds its memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentGaussian(ImportanceWeighted, Latent, Encoder, Reconstructor):
    """Images decoded from a code of `latent` Gaussian numbers.

    net         "dense": perceptrons with tanh; "conv": convolutions of stride 2 and back (`nn.convolutional`)
    hidden      widths of the encoder's layers, of "conv" those of its maps, the largest first; the decoder has them
                in reverse
    likelihood  p(x|z) of a sub-pixel: "bernoulli" for two levels, "softmax" over the levels, "logistic", a mixture of
                `components` discretised logistics; None: Bernoulli for two levels, a softmax for more
    condition   classes or vectors that encoder and decoder are told
    """

    latent: int = 50
    net: str = "dense"
    hidden: tuple[int, ...] = (200, 200)
    likelihood: str | None = None
    components: int = 5
    dtype: str = "float32"

    conditioned_on: ClassVar = (conditions.Classes, conditions.Vector)
    spherical: ClassVar = True
    lacks: ClassVar = {
        "Autoregressive": "its pixels are independent given a latent, which is integrated out",
        "Completer": "it has no encoder of partial images",
        "Classifier": "it learns images, and labels at most as what they are conditioned on",
        "Features": "distances between its codes have no meaning: measure in a classifier's features",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, latent=1, hidden=1, components=1)
        name = type(self).__name__
        one_of(self, net=("dense", "conv"))
        if self.likelihood is not None:
            one_of(self, likelihood=("bernoulli", "softmax", "logistic"))
        if self.net == "conv" and not self.hidden:
            raise UsageError(f"{name}: net='conv' wants at least one map in hidden, as (32, 64), got ().")
        if self.likelihood == "bernoulli" and self.levels != 2:
            raise UsageError(
                f"{name}: a Bernoulli head is for 2 levels, got {self.levels}: use likelihood='softmax' or "
                "likelihood='logistic'."
            )

    @property
    def head(self) -> Head:
        """What makes p(x|z) of a pixel's outputs."""
        if self.likelihood == "logistic":
            return LogisticMixture(self.levels, self.shape[2], self.components)
        return Softmax(self.levels, self.shape[2])

    @property
    def encoder(self) -> Any:
        """Pixels, and the condition beside them, to mean and log-variance."""
        outputs = (("mean", self.latent), ("log_var", self.latent))
        return (ConvEncoder if self.net == "conv" else Perceptron)(self.hidden, outputs, self.dtype)

    @property
    def decoder(self) -> Any:
        """Code, and the condition behind it, to outputs for `head`."""
        each = math.prod(self.head.shape)
        if self.net == "conv":
            return ConvDecoder(self.shape[:2], self.hidden, each, self.dtype)
        values = math.prod(self.shape[:2]) * each
        return Perceptron(self.hidden[::-1], (("logits", values),), self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        encoder_key, decoder_key = jax.random.split(key)
        h, w, c = self.shape
        extra = 0 if self.condition is None else self.condition.features
        x = jnp.zeros((1, h, w, c + extra) if self.net == "conv" else (1, h * w * c + extra))
        encoder = self.encoder.init(encoder_key, x)
        decoder = self.decoder.init(decoder_key, jnp.zeros((1, self.latent + extra)))
        return {"params": {"encoder": encoder["params"], "decoder": decoder["params"]}}

    def posterior(
        self, variables: Variables, image: Images, condition: Any = None
    ) -> tuple[Float[Array, "b d"], Float[Array, "b d"]]:
        """Mean and log-variance of q(z|x), or of q(z|x,y)."""
        x = to_float(image, self.levels)
        given = conditions.features(self.condition, condition, len(x))
        if self.net == "dense":
            x, given = x.reshape(len(x), -1), None if given is None else given[:, 0, 0]
        elif given is not None:
            given = jnp.broadcast_to(given, (*x.shape[:3], given.shape[3]))
        outputs: Any = self.encoder.apply({"params": variables["params"]["encoder"]}, _joined(x, given))
        return outputs

    def _outputs(self, variables: Variables, z: Array, condition: Any) -> Array:
        """What `head` makes p(x|z) of, [b,h,w,…]."""
        given = conditions.features(self.condition, condition, len(z))
        z = _joined(z, None if given is None else given[:, 0, 0])
        outputs: Any = self.decoder.apply({"params": variables["params"]["decoder"]}, z)
        (outputs,) = (outputs,) if self.net == "conv" else outputs
        return cast(Array, outputs.reshape(len(z), *self.shape[:2], *self.head.shape))

    def log_likelihood(
        self, variables: Variables, image: Images, z: Float[Array, "b d"], condition: Any = None
    ) -> Float[Array, " b"]:
        """log p(x|z) in nats."""
        outputs = self._outputs(variables, z, condition)
        return cast(Array, self.head.image_log_prob(outputs, jnp.asarray(image)))

    def noise(self, key: PRNGKey, num: int, k: int) -> Float[Array, "num k d"]:
        """The standard normal draws of k codes for each of `num` examples, which belong to them (`core.keys`)."""
        return jax.vmap(lambda key: jax.random.normal(key, (k, self.latent)))(example_keys(key, num))

    def log_weights(
        self,
        variables: Variables,
        image: Images,
        posterior: tuple[Float[Array, "b d"], Float[Array, "b d"]],
        noise: Float[Array, "b k d"],
        condition: Any = None,
    ) -> Float[Array, "b k"]:
        """log p(x|z) + log p(z) − log q(z|x) at z = mean + σ·noise, nats: the codes of all images are one matrix.

        The densities' constants cancel, and of log q the square is that of the noise."""
        mean, log_var = (a[:, None] for a in posterior)
        z = mean + jnp.exp(0.5 * log_var) * noise
        b, k, d = z.shape

        def each(a: Any) -> Array:
            a = jnp.asarray(a)
            return jnp.broadcast_to(a[:, None], (b, k, *a.shape[1:])).reshape(b * k, *a.shape[1:])

        given = None if condition is None else each(condition)
        log_likelihood = self.log_likelihood(variables, each(image), z.reshape(b * k, d), given).reshape(b, k)
        return log_likelihood + 0.5 * (log_var + noise**2 - z**2).sum(axis=-1)

    def iwae_bound(
        self, variables: Variables, image: Images, key: PRNGKey, k: int, condition: Any = None
    ) -> Float[Array, " b"]:
        """L_k of each image (nats): the log-mean of k importance weights, 50 of them in memory at a time.

        In expectation it rises with k towards log p(x); k = 1 estimates the ELBO, k = 5000 is usual for reporting NLL.
        Raises `UsageError` for k below 1.
        """
        self.check_condition(condition, len(image))
        posterior = self.posterior(variables, image, condition)

        def draw(key: PRNGKey, n: int) -> Array:
            return self.log_weights(variables, image, posterior, self.noise(key, len(image), n), condition)

        return importance_bound_in_chunks(draw, key, k, SAMPLES_AT_ONCE)

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """z ~ N(0, I)."""
        return jax.random.normal(key, (num, self.latent))

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The mean of p(x|z), rounded to the nearest level; of logistics, which make channels depend on those before
        them, the mean given these."""
        self.check_condition(condition, len(z))
        return self.head.mean(self._outputs(variables, z, condition)).astype(jnp.uint8)

    def sample(self, variables: Variables, key: PRNGKey, num: int, condition: Any = None) -> UInt8[Array, "num h w c"]:
        """Draw z ~ N(0, I), then every pixel from p(x|z). Classes are taken in turn where none are given."""
        condition = self.example_condition(num) if condition is None else condition
        self.check_condition(condition, num)
        latent_key, pixel_key = jax.random.split(key)
        outputs = self._outputs(variables, self.prior(latent_key, num), condition)
        return self.head.draw(outputs, pixel_key).astype(jnp.uint8)

    def encode(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b d"]:
        """The posterior mean."""
        self.check_condition(condition, len(image))
        return self.posterior(variables, image, condition)[0]

    def reconstruct(self, variables: Variables, image: Images, condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The image of the posterior mean."""
        return self.decode(variables, self.encode(variables, image, condition), condition)


def _joined(x: Array, given: Array | None) -> Array:
    """With a condition's features behind the last axis, where there are any."""
    return x if given is None else jnp.concatenate([x, given.astype(x.dtype)], axis=-1)
