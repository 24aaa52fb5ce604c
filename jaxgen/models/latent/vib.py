"""Variational information bottleneck (1612.00410): a classifier that keeps of an image only what its label needs.

`z ~ N(mean(x), σ(x)²)`, `σ = softplus(ρ − 5)`, `q(y|z) = softmax(W z + b)`, `r(z) = N(0, I)`. The loss in bits is

    E_z −log₂ q(y|z) + β·KL(p(z|x) ‖ r(z))                                                (eq. 17, app. A)

whose two terms bound what the code has of the label and of the image:

    I(Z;Y) ≥ H(Y) + E log₂ q(y|z),    I(Z;X) ≤ E KL(p(z|x) ‖ r(z))                        (eq. 13, 14)

The encoder is 784–1024–1024–2·256 with ReLU, Glorot's uniform initial weights and zero biases; images enter as −1 … 1.
A label is predicted by the probabilities that 12 draws of z give it on average, as in the paper.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.capabilities import Classifier, Encoder, Features
from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.keys import example_keys
from jaxgen.core.model import Aux, Batch, Images, Objective, PRNGKey, Variables
from jaxgen.maths.distributions import categorical_log_prob, gaussian_kl

LEAST_RHO = -60.0
"""Of ρ − 5: below it σ = e^(ρ−5) to rounding, and would leave float32."""


class _Bottleneck(nn.Module):
    """Dense layers with ReLU between them, and on top the mean of the code and its ρ, in float32."""

    hidden: tuple[int, ...]
    latent: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b i"]) -> tuple[Float[Array, "b d"], Float[Array, "b d"]]:
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform())
        for i, n in enumerate(self.hidden):
            x = nn.relu(dense(n, name=f"layer_{i}")(x))
        mean, rho = jnp.split(dense(2 * self.latent, name="code")(x).astype(jnp.float32), 2, axis=1)
        return mean, rho


@dataclasses.dataclass(frozen=True, kw_only=True)
class VIB(Classifier, Encoder, Features):
    """A classifier through a noisy code of `latent` numbers, each nat of which costs `beta` nats of the label.

    `draws` of the code are averaged to classify an image. Codes and features are the code's mean.

    >>> model = VIB(shape=(28, 28, 1), levels=256, beta=1e-2)
    >>> variables = model.init(jax.random.key(0), {})
    >>> image = jnp.zeros((2, 28, 28, 1), jnp.uint8)
    >>> model.class_log_probs(variables, image, jax.random.key(1)).shape
    (2, 10)
    """

    classes: int = 10
    latent: int = 256
    hidden: tuple[int, ...] = (1024, 1024)
    beta: float = 1e-3
    draws: int = 12
    dtype: str = "float32"

    conditioned_on: ClassVar = ()
    lacks: ClassVar = {
        "Density": "it says how likely a label is given an image, not how likely the image is",
        "ImportanceWeighted": "it bounds what its code has of image and label, not the likelihood of an image",
        "Autoregressive": "it has no distribution of pixels",
        "Sampler": "it has no decoder: its code is for labels alone",
        "Latent": "it has no decoder: its code is for labels alone",
        "Decoder": "its code is for labels alone, not for images",
        "Completer": "it has no decoder: its code is for labels alone",
        "Reconstructor": "it has no decoder: its code is for labels alone",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, classes=2, latent=1, hidden=1, draws=1)
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise UsageError(f"VIB: beta must be a finite number of at least 0, got {self.beta}.")

    @property
    def encoder(self) -> _Bottleneck:
        return _Bottleneck(self.hidden, self.latent, self.dtype)

    @property
    def classifier(self) -> nn.Dense:
        return nn.Dense(self.classes, kernel_init=nn.initializers.glorot_uniform())

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        encoder_key, classifier_key = jax.random.split(key)
        encoder = self.encoder.init(encoder_key, jnp.zeros((1, math.prod(self.shape))))
        classifier = self.classifier.init(classifier_key, jnp.zeros((1, self.latent)))
        return {"params": {"encoder": encoder["params"], "classifier": classifier["params"]}}

    def objectives(self) -> tuple[Objective, ...]:
        """One: the bits of the label with one draw of z per image, and β times those of the code."""
        return (Objective("bottleneck", self._loss, trains=("encoder", "classifier"), examples="separable"),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        label = jnp.asarray(batch["label"], jnp.int32)
        log_probs, kl = self.label_terms(variables, batch["image"], key, 1)
        nats, kl = -categorical_log_prob(log_probs[0], label).mean(), kl.mean()
        error = 100.0 * (log_probs[0].argmax(axis=1) != label).mean()
        bits = (nats + self.beta * kl) / math.log(2.0)
        return bits, Aux({"error": error, "nats": nats, "bits_zx": kl / math.log(2.0)})

    def posterior(self, variables: Variables, image: Images) -> tuple[Float[Array, "b d"], Float[Array, "b d"]]:
        """Mean and log-variance of p(z|x)."""
        x = 2.0 * to_float(image, self.levels).reshape(len(image), -1) - 1.0
        outputs: Any = self.encoder.apply({"params": variables["params"]["encoder"]}, x)
        mean, rho = outputs
        return mean, 2.0 * jnp.log(jax.nn.softplus(jnp.maximum(rho - 5.0, LEAST_RHO)))

    def class_logits(self, variables: Variables, z: Float[Array, "*b d"]) -> Float[Array, "*b classes"]:
        """Logits of the labels of codes, W z + b."""
        logits: Any = self.classifier.apply({"params": variables["params"]["classifier"]}, z)
        return logits

    def label_terms(
        self, variables: Variables, image: Images, key: PRNGKey, draws: int
    ) -> tuple[Float[Array, "draws b classes"], Float[Array, " b"]]:
        """log q(y|z) of each class at draws z ~ p(z|x), and KL(p(z|x) ‖ r(z)) in closed form, in nats."""
        mean, log_var = self.posterior(variables, image)
        keys = example_keys(key, len(mean))
        noise = jax.vmap(lambda key: jax.random.normal(key, (draws, self.latent)), out_axes=1)(keys)
        logits = self.class_logits(variables, mean + jnp.exp(0.5 * log_var) * noise)
        return jax.nn.log_softmax(logits), gaussian_kl(mean, log_var)

    def class_log_probs(self, variables: Variables, image: Images, key: PRNGKey) -> Float[Array, "b classes"]:
        """log p(y|x): the probabilities of `draws` codes, averaged."""
        return _averaged(self.label_terms(variables, image, key, self.draws)[0])

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "error" in percent and "nats" by `draws` averaged codes; "error_1" and "nats_1" by a single code, the means
        over those draws; "bits_zx", the bound of I(Z;X); and "bits_zy", that of I(Z;Y) where labels are equally
        frequent: H(Y) is then log₂ of `classes`, and less where they are not.
        """
        label = jnp.asarray(batch["label"], jnp.int32)
        log_probs, kl = self.label_terms(variables, batch["image"], key, self.draws)
        averaged = _averaged(log_probs)
        nats_1 = -jax.vmap(categorical_log_prob, (0, None))(log_probs, label).mean(axis=0)
        return {
            "error": 100.0 * (averaged.argmax(axis=1) != label),
            "error_1": 100.0 * (log_probs.argmax(axis=2) != label).mean(axis=0),
            "nats": -categorical_log_prob(averaged, label),
            "nats_1": nats_1,
            "bits_zx": kl / math.log(2.0),
            "bits_zy": (math.log(self.classes) - nats_1) / math.log(2.0),
        }

    def encode(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b d"]:
        """The mean of p(z|x)."""
        self.check_condition(condition, len(image))
        return self.posterior(variables, image)[0]

    def features(self, variables: Variables, image: Images) -> Float[Array, "b d"]:
        """The mean of p(z|x), of which the logits are a linear map."""
        return self.posterior(variables, image)[0]


def _averaged(log_probs: Float[Array, "draws b classes"]) -> Float[Array, "b classes"]:
    """The logarithm of the mean of the probabilities."""
    return jax.nn.logsumexp(log_probs, axis=0) - math.log(len(log_probs))
