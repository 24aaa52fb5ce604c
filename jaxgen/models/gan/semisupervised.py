"""A semi-supervised GAN (1606.03498, §5): a classifier of few labels that learns from images without labels too, and
from those of a generator.

Its critic gives K logits l(x), and lse(x), their logsumexp, is the logit of x being real: class K + 1, a fake, has the
logit 0.

    critic      L_lab + L_unl
        L_lab = −E[l_y(x) − lse(x)]                          images with a label y
        L_unl = ½ E[sp(lse(x)) − lse(x)] + ½ E sp(lse(G))    images without one, and fakes
    generator   ‖E f(x) − E f(G(z))‖²                        f: the critic's last hidden layer (§3.1)

Nets and settings are those of the paper's code for MNIST. Critic: dense layers with ReLU, Gaussian noise on the image
and in front of each further layer, weights normed (1602.07868) with a scale that is set by the first batch and stays,
but for that of the logits. Generator: z uniform on [0, 1], dense layers with batch norm and softplus, sigmoid.

Deviation: the generator's last layer has plain weights.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxgen.core.capabilities import Classifier, Latent
from jaxgen.core.checks import at_least
from jaxgen.core.conditions import UNLABELLED, Classes, check
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.core.keys import of_examples
from jaxgen.core.model import Aux, Batch, ImageModel, Images, Objective, PRNGKey, Variables, rows
from jaxgen.maths.adversarial import logistic_critic
from jaxgen.maths.distributions import categorical_log_prob
from jaxgen.maths.labels import feature_matching
from jaxgen.nn.weight_norm import LEAST_DEVIATION, normalised


class NormedDense(nn.Module):
    """A dense map whose weights have a norm for each output, such that the first batch has outputs of mean 0 and
    standard deviation 1; the norm is trained where `scaled`, and else stays: noise behind it keeps its weight."""

    features: int
    scaled: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
        direction = self.param("direction", nn.initializers.normal(0.1), (x.shape[-1], self.features))
        kernel = normalised(direction, jnp.ones(self.features))
        y = (x.astype(self.dtype) @ kernel.astype(self.dtype)).astype(jnp.float32)
        scale, bias = jnp.ones(self.features), jnp.zeros(self.features)
        if self.is_initializing():
            mean, deviation = y.mean(axis=0), y.std(axis=0)
            scale = 1.0 / jnp.where(deviation > LEAST_DEVIATION, deviation, 1.0)
            bias = -mean * scale
        if self.scaled:
            scale = self.param("scale", lambda _: scale)
        else:
            scale = self.variable("scales", "scale", lambda: scale).value
        return y * scale + self.param("bias", lambda _: bias)


class NoisyCritic(nn.Module):
    """The logits of images 0 … 1, and its last hidden layer; draws noise ("noise") where it is trained."""

    hidden: tuple[int, ...]
    classes: int
    input_noise: float
    noise: float
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], train: bool = True
    ) -> tuple[Float[Array, "b classes"], Float[Array, "b d"]]:
        features = x.reshape(len(x), -1)
        for i, n in enumerate(self.hidden):
            x = self._noisy(features, self.noise if i else self.input_noise, train)
            features = nn.relu(NormedDense(n, dtype=self.dtype, name=f"layer_{i}")(x))
        x = self._noisy(features, self.noise, train)
        return NormedDense(self.classes, scaled=True, dtype=self.dtype, name="logits")(x), features

    def _noisy(self, x: Array, deviation: float, train: bool) -> Array:
        return x + deviation * jax.random.normal(self.make_rng("noise"), x.shape) if train and deviation else x


class SoftplusGenerator(nn.Module):
    """Dense layers from z to an image 0 … 1."""

    shape: tuple[int, int, int]
    hidden: tuple[int, ...]
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: Float[Array, "b d"], train: bool = True) -> Float[Array, "b h w c"]:
        for n in self.hidden:
            z = nn.Dense(n, use_bias=False, dtype=self.dtype)(z)
            z = nn.softplus(nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.dtype)(z))
        logits = nn.Dense(math.prod(self.shape), dtype=self.dtype)(z).astype(jnp.float32)
        return nn.sigmoid(logits).reshape(len(z), *self.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemiSupervisedGAN(Latent, Classifier):
    """A classifier, the critic, and a generator.

    classes            how many there are
    latent             numbers of z
    hidden             layers of the critic
    generator_hidden   layers of the generator
    input_noise        standard deviation of what is added to images, which are 0 … 1, before the critic in training
    noise              the same of its hidden layers

    All images of a batch are taken as unlabelled. Labelled are those that data bring beside them
    (`data.partly_labelled`: "labelled_image" and "labelled_label"), or else its own whose label is not −1.
    """

    classes: int = 10
    latent: int = 100
    hidden: tuple[int, ...] = (1000, 500, 250, 250, 250)
    generator_hidden: tuple[int, ...] = (500, 500)
    input_noise: float = 0.3
    noise: float = 0.5
    dtype: str = "float32"

    by_example: ClassVar = True
    conditioned_on: ClassVar = ()
    averaged: ClassVar[tuple[str, ...]] = ("params", "batch_stats")
    lacks: ClassVar = {
        "Density": "it says how likely a label is given an image, and draws images without a likelihood",
        "Autoregressive": "it says how likely a label is given an image, and draws images without a likelihood",
        "Completer": "it draws whole images",
        "Encoder": "it has no map from an image to a latent",
        "Reconstructor": "it has no map from an image to a latent",
        "Features": "it has seen few labels: features to measure by come from a classifier that has seen all",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, classes=2, latent=1, hidden=1, generator_hidden=1)
        name = type(self).__name__
        if not self.hidden:
            raise UsageError(f"{name}: hidden must have a layer, whose features the generator matches, got ().")
        for knob in ("input_noise", "noise"):
            if not 0 <= getattr(self, knob) < math.inf:
                raise UsageError(f"{name}: {knob} must be at least 0, got {getattr(self, knob)}.")

    @property
    def generator(self) -> SoftplusGenerator:
        """From z to an image."""
        return SoftplusGenerator(self.shape, self.generator_hidden, self.dtype)

    @property
    def critic(self) -> NoisyCritic:
        """From an image to logits of classes, and features."""
        return NoisyCritic(self.hidden, self.classes, self.input_noise, self.noise, self.dtype)

    def check_data(self, batch: Batch) -> None:
        """Raises `UsageError` where labels are missing or of no class, −1 for none excepted, or all are −1."""
        ImageModel.check_data(self, batch)
        name = type(self).__name__
        if "label" not in batch:
            raise UsageError(
                f"{name} learns from images with labels and without, and these data have none: give data with labels, "
                f"{UNLABELLED} for images without one."
            )
        label = batch["label"]
        check(Classes(self.classes, dropout=0.5), label, rows(batch), name, ())  # as labels that may be dropped
        if isinstance(label, np.ndarray) and not (label != UNLABELLED).any():
            raise UsageError(f"{name} wanted images with labels, and all labels are {UNLABELLED}: label some.")

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; the scales of the critic's layers are set by the batch's images."""
        generator_key, critic_key, noise_key = jax.random.split(key, 3)
        image = to_float(batch["image"], self.levels)
        nets = {
            "generator": self.generator.init(generator_key, jnp.zeros((1, self.latent)), train=False),
            "critic": self.critic.init({"params": critic_key, "noise": noise_key}, image),
        }
        return {
            "params": {name: net["params"] for name, net in nets.items()},
            "batch_stats": nets["generator"]["batch_stats"],
            "scales": nets["critic"]["scales"],
        }

    def objectives(self) -> tuple[Objective, ...]:
        """The critic's, then the generator's, which meets the critic just updated."""
        return (
            Objective("critic", self._critic_loss, trains=("critic",)),
            Objective("generator", self._generator_loss, trains=("generator",)),
        )

    def class_log_probs(self, variables: Variables, image: Images, key: PRNGKey) -> Float[Array, "b classes"]:
        """log p(y|x) of each class, given that the image is real. Draws nothing: noise is for training."""
        return jax.nn.log_softmax(self.judged(variables, to_float(image, self.levels))[0])

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """z, uniform on [0, 1]."""
        return jax.random.uniform(key, (num, self.latent))

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The generator's images, rounded to the nearest level; batch norm reads its running statistics."""
        self.check_condition(condition, len(z))
        net = {"params": variables["params"]["generator"], "batch_stats": variables["batch_stats"]}
        image: Any = self.generator.apply(net, z, train=False)
        return from_float(image, self.levels)

    def draw(self, variables: Variables, key: PRNGKey, num: int) -> tuple[Float[Array, "num h w c"], Variables]:
        """Images 0 … 1 of the generator in training, and its updated statistics."""
        net = {"params": variables["params"]["generator"], "batch_stats": variables["batch_stats"]}
        image, updates = self.generator.apply(net, of_examples(self.prior(key, num)), mutable=["batch_stats"])
        return image, dict(updates)

    def judged(
        self, variables: Variables, x: Float[Array, "b h w c"], key: PRNGKey | None = None
    ) -> tuple[Float[Array, "b classes"], Float[Array, "b d"]]:
        """The critic's logits and features of images 0 … 1; with noise where there is a key."""
        net = {"params": variables["params"]["critic"], "scales": variables["scales"]}
        rngs = {} if key is None else {"noise": key}
        outputs: Any = self.critic.apply(net, x, train=key is not None, rngs=rngs)
        return cast("tuple[Array, Array]", outputs)

    def labelled(self, batch: Batch) -> tuple[Float[Array, "n h w c"], Int[Array, " n"]]:
        """The labelled images of a batch, 0 … 1, and their labels, −1 for one that does not count."""
        beside = "labelled_" if "labelled_image" in batch else ""
        label = jnp.asarray(batch[f"{beside}label"], jnp.int32)
        return to_float(batch[f"{beside}image"], self.levels), label

    def _critic_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        draw_key, noise_key = jax.random.split(key)
        (x, label), real = self.labelled(batch), to_float(batch["image"], self.levels)
        fake, _ = self.draw(variables, draw_key, len(real))
        together = jnp.concatenate([x, real, fake])  # one pass: no image's logits depend on another
        logits = jnp.split(self.judged(variables, together, noise_key)[0], [len(x), len(x) + len(real)])
        counts, num = label != UNLABELLED, jnp.maximum((label != UNLABELLED).sum(), 1)
        log_probs = jax.nn.log_softmax(logits[0])
        nats = -jnp.where(counts, categorical_log_prob(log_probs, jnp.maximum(label, 0)), 0.0).sum() / num
        error = 100.0 * (counts & (log_probs.argmax(axis=1) != label)).sum() / num
        real_logit, fake_logit = (jax.nn.logsumexp(part, axis=1) for part in logits[1:])
        unlabelled = 0.5 * logistic_critic(real_logit, fake_logit).mean()
        shown = {"p_real": jax.nn.sigmoid(real_logit).mean(), "p_fake": jax.nn.sigmoid(fake_logit).mean()}
        return nats + unlabelled, Aux({"labelled": nats, "error": error, "unlabelled": unlabelled}, {}, shown)

    def _generator_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        draw_key, real_key, fake_key = jax.random.split(key, 3)
        real = to_float(batch["image"], self.levels)
        fake, updates = self.draw(variables, draw_key, len(real))
        features = [self.judged(variables, *part)[1] for part in ((real, real_key), (fake, fake_key))]
        return feature_matching(*features), Aux({}, updates)
