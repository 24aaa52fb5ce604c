"""Images from images: pix2pix (1611.07004), a conditional GAN whose critic judges patches.

    critic      mean over patches of ½ L_C(D(x, y), D(x, G(x)))                             (eq. 1; the ½ of §3.3)
    generator   mean over patches of L_G(D(x, G(x))) + λ · mean |y − G(x)|, λ = 100         (eq. 4, images in −1 … 1)

x is the image that is told, a map of the condition with values 0 … 1, and y the image to be drawn. G is a U-Net
(`nn.unet`) whose noise is dropout alone, in training and afterwards, so that an input has a distribution of outputs. D
is a stack of 4×4 convolutions over x and y side by side (§6.1.2), each of whose scores sees a patch of 70×70 pixels:

    patch 16   C64 – C128                      286   C64 – C128 – C256 – C512 – C512 – C512
          34   C64 – C128 – C256               1     1×1 convolutions, C64 – C128, which see a pixel each
          70   C64 – C128 – C256 – C512

all of stride 2 but the last of a row and the one that gives scores, with LeakyReLU .2.

Deviations: instance norm takes the place of batch norm, with which it agrees on the paper's batches of one (§3.3), and
images of a batch do not mix. The paper's jitter is `data.pairs.jittered`, and of its losses "non-saturating" is the
paper's, "least-squares" that of later code.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxgen.core import conditions
from jaxgen.core.capabilities import Sampler, Scored
from jaxgen.core.checks import at_least, one_of
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.core.model import Aux, Batch, Objective, PRNGKey, Variables
from jaxgen.maths.adversarial import adversarial
from jaxgen.metrics.restoration import WINDOW, ssim
from jaxgen.nn.strided import Conv
from jaxgen.nn.unet import INITIAL, KERNEL, WIDEST, InstanceNorm, UNet, most_halvings

PATCHES = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}
"""Sides of the patches that a critic can see, and how many of its convolutions have stride 2."""

LOSSES = ("non-saturating", "minimax", "least-squares", "hinge")
"""Pairs of `maths.adversarial` of which each score has a term of its own."""


class PatchCritic(nn.Module):
    """Scores of overlapping patches of an image in −1 … 1 beside what it was drawn from, float32."""

    patch: int
    features: int
    norm: Literal["instance", "none"] = "instance"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, told: Float[Array, "b h w k"], image: Float[Array, "b h w c"]) -> Float[Array, "b n"]:
        halvings = PATCHES[self.patch]
        x = jnp.concatenate([told, image], axis=-1)
        if not halvings:
            x = nn.leaky_relu(self._map(x, 1, (1, 1), 1), 0.2)
            x = nn.leaky_relu(self._normed(x, 2, (1, 1), 1), 0.2)
            return self._scores(x, (1, 1))
        for i in range(halvings):
            x = self._normed(x, 2**i, KERNEL, 2) if i else self._map(x, 1, KERNEL, 2)
            x = nn.leaky_relu(x, 0.2)
        x = nn.leaky_relu(self._normed(x, 2**halvings, KERNEL, 1), 0.2)
        return self._scores(x, KERNEL)

    def _map(self, x: Array, wider: int, kernel: tuple[int, int], stride: int, bias: bool = True) -> Array:
        layer: Any = self._conv(self.features * min(wider, WIDEST), kernel, stride, bias)
        return layer(x)  # type: ignore[no-any-return]

    def _normed(self, x: Array, wider: int, kernel: tuple[int, int], stride: int) -> Array:
        if self.norm == "none":
            return self._map(x, wider, kernel, stride)
        return InstanceNorm()(self._map(x, wider, kernel, stride, bias=False))

    def _scores(self, x: Array, kernel: tuple[int, int]) -> Array:
        return self._conv(1, kernel, 1, True)(x).astype(jnp.float32).reshape(len(x), -1)

    def _conv(self, features: int, kernel: tuple[int, int], stride: int, bias: bool) -> nn.Module:
        edge = (0, 0) if kernel == (1, 1) else (1, 1)
        knobs: dict[str, Any] = dict(dtype=self.dtype, kernel_init=INITIAL, use_bias=bias)
        return Conv(features, kernel, (stride, stride), padding=(edge, edge), **knobs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pix2Pix(Sampler, Scored):
    """Draws an image from an image: `condition=Map(channels)` says of how many channels the latter is.

    features          width of the U-Net
    depth             how often it halves the sides
    dropout           share of features that its innermost maps leave out, also when it draws: the noise
    patch             side of the patches that the critic sees: 1, 16, 34, 70, 142 or 286 pixels
    critic_features   width of the critic
    critic_norm       "instance", or "none", with which a score depends on its patch alone
    loss              "non-saturating", "minimax", "least-squares" or "hinge"
    l1_weight         λ of the L1 term; 0 leaves it out

    "l1" decides what is best: the mean absolute difference to the image of held-out pairs, both with values 0 … 1. At
    each evaluation a picture, "translations", shows inputs, what is drawn of them, and the images that belong to them.

    >>> from jaxgen.core.conditions import Map
    >>> model = Pix2Pix(shape=(256, 256, 3), levels=256, condition=Map(3))
    >>> model.patch, [objective.name for objective in model.objectives()]
    (70, ['critic', 'generator'])
    """

    features: int = 64
    depth: int = 8
    dropout: float = 0.5
    patch: int = 70
    critic_features: int = 64
    critic_norm: Literal["instance", "none"] = "instance"
    loss: Literal["non-saturating", "minimax", "least-squares", "hinge"] = "non-saturating"
    l1_weight: float = 100.0
    dtype: str = "float32"

    figure: ClassVar = "l1"
    conditioned_on: ClassVar = (conditions.Map,)
    lacks: ClassVar = {
        "Density": "a GAN defines a sampler and no likelihood",
        "Autoregressive": "a GAN defines a sampler and no likelihood",
        "Latent": "its noise is dropout, and no code of which a prior is known",
        "Completer": "it draws whole images, from others",
        "Encoder": "it maps images to images, and to no vectors",
        "Reconstructor": "it makes other images of those that it is told, and has no way back",
        "Classifier": "its critic tells real from drawn patches, and no classes",
        "Features": "its critic's features change with the generator, and are no yardstick",
        "Adversarial": "its critic scores patches of an image beside its input, and no image alone",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        name, smallest = type(self).__name__, min(self.shape[:2])
        one_of(self, loss=LOSSES, critic_norm=("instance", "none"))
        at_least(self, features=1, depth=1, critic_features=1)
        if self.condition is None:
            raise UsageError(f"{name} draws an image from an image: give condition=Map(3), say, or use a GAN.")
        if self.depth > most_halvings(self.shape):
            raise UsageError(
                f"{name}: depth={self.depth} halves the sides so often, and those of shape {self.shape} are a pixel "
                f"after {most_halvings(self.shape)}: give depth={most_halvings(self.shape)}, or larger images."
            )
        if self.patch not in PATCHES:
            raise UsageError(f"{name}: patch must be one of {', '.join(map(str, PATCHES))}, got {self.patch}.")
        if smallest < least_side(self.patch):
            fitting = max(patch for patch in PATCHES if least_side(patch) <= smallest)
            raise UsageError(
                f"{name}: patch={self.patch} wants sides of at least {least_side(self.patch)} pixels, got shape "
                f"{self.shape}: give patch={fitting}, or larger images."
            )
        if not 0 <= self.dropout < 1:
            raise UsageError(f"{name}: dropout must be at least 0 and below 1, got {self.dropout}.")
        if not 0 <= self.l1_weight < math.inf:
            raise UsageError(f"{name}: l1_weight must be a number of at least 0, got {self.l1_weight}.")

    @property
    def generator(self) -> UNet:
        """From the image that is told to the one that is drawn."""
        return UNet(self.shape[2], self.features, self.depth, self.dropout, self.dtype)

    @property
    def critic(self) -> PatchCritic:
        """From both images to a score for each patch."""
        return PatchCritic(self.patch, self.critic_features, self.critic_norm, self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        generator_key, critic_key = jax.random.split(key)
        told, image = jnp.zeros((1, *conditions.tail(self.condition, self.shape))), jnp.zeros((1, *self.shape))
        rngs = {"params": generator_key, "dropout": generator_key}
        return {
            "params": {
                "generator": self.generator.init(rngs, told)["params"],
                "critic": self.critic.init(critic_key, told, image)["params"],
            }
        }

    def trained_on(self, batch: Batch) -> Any:
        """The maps that images are drawn from. Raises `UsageError` where the data have none."""
        if "condition" not in batch:
            raise UsageError(
                f"{type(self).__name__} draws images from others, and these data have none to draw from: name pairs, "
                "as in pairs:DIR,inputs=DIR, or make inputs of the images, as data.made_pairs.with_inputs does."
            )
        return batch["condition"]

    def objectives(self) -> tuple[Objective, ...]:
        """The critic's, then the generator's, which meets the critic just updated."""
        return (
            Objective("critic", self._critic_loss, trains=("critic",), examples="separable"),
            Objective("generator", self._generator_loss, trains=("generator",), examples="separable"),
        )

    def drawn(self, variables: Variables, condition: Float[Array, "b h w k"], key: PRNGKey) -> Float[Array, "b h w c"]:
        """The generator's images in −1 … 1 of maps with values 0 … 1."""
        net, told = {"params": variables["params"]["generator"]}, 2.0 * jnp.asarray(condition, jnp.float32) - 1.0
        image: Any = self.generator.apply(net, told, rngs={"dropout": key})
        return image

    def patch_scores(
        self, variables: Variables, condition: Float[Array, "b h w k"], image: Float[Array, "b h w c"]
    ) -> Float[Array, "b n"]:
        """The critic's scores of the patches of images in −1 … 1, row by row from the top."""
        net, told = {"params": variables["params"]["critic"]}, 2.0 * jnp.asarray(condition, jnp.float32) - 1.0
        scores: Any = self.critic.apply(net, told, image)
        return scores

    def sample(self, variables: Variables, key: PRNGKey, num: int, condition: Any = None) -> UInt8[Array, "num h w c"]:
        """An image of each map of the condition; another key leaves out other features."""
        self.check_condition(condition, num)
        return from_float((self.drawn(variables, condition, key) + 1.0) / 2.0, self.levels)

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "l1", the mean absolute difference between an image and what is drawn of its input, values 0 … 1, and "ssim"
        where images are as large as its window."""
        image, condition = jnp.asarray(batch["image"]), self.condition_of(batch)
        drawn = self.sample(variables, key, len(image), condition)
        difference = jnp.abs(to_float(image, self.levels) - to_float(drawn, self.levels))
        figures = {"l1": difference.mean(axis=(1, 2, 3))}
        return figures | ({"ssim": ssim(drawn, image, self.levels)} if min(self.shape[:2]) >= WINDOW else {})

    def shows(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Any]:
        """Side by side the input, what is drawn of it, and the image that belongs to it."""
        image, condition = jnp.asarray(batch["image"]), self.condition_of(batch)
        told = from_float(like_image(jnp.asarray(condition), self.shape[2]), self.levels)
        drawn = self.sample(variables, key, len(image), condition)
        return {"translations": jnp.concatenate([told, drawn, image], axis=2)}

    def _real(self, batch: Batch) -> Float[Array, "b h w c"]:
        return 2.0 * to_float(batch["image"], self.levels) - 1.0

    def _critic_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        condition = self.trained_on(batch)
        drawn = jax.lax.stop_gradient(self.drawn(variables, condition, key))
        real_scores, drawn_scores = (self.patch_scores(variables, condition, x) for x in (self._real(batch), drawn))
        terms = adversarial(self.loss).critic(real_scores.ravel(), drawn_scores.ravel())
        return 0.5 * terms.mean(), Aux({"score_real": real_scores.mean(), "score_drawn": drawn_scores.mean()})

    def _generator_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        condition, real = self.trained_on(batch), self._real(batch)
        drawn = self.drawn(variables, condition, key)
        scores = self.patch_scores(variables, condition, drawn).ravel()
        fooling = adversarial(self.loss).generator(scores, scores).mean()  # of these pairs it minds drawn scores alone
        difference = jnp.abs(real - drawn).mean()
        loss = fooling + self.l1_weight * difference
        return loss, Aux({"fooling": fooling}, shown={"l1": 0.5 * difference})


def least_side(patch: int) -> int:
    """The smallest side of an image with a critic of such patches: smaller ones leave no score, or a norm of a pixel.

    >>> least_side(70), least_side(16), least_side(1)
    (24, 6, 2)
    """
    return 3 * 2 ** PATCHES[patch] if PATCHES[patch] else 2


def like_image(told: Float[Array, "b h w k"], channels: int) -> Float[Array, "b h w c"]:
    """A map as a picture of so many channels: its first ones, or where it has fewer their mean in each."""
    return told[..., :channels] if told.shape[-1] >= channels else told.mean(-1, keepdims=True).repeat(channels, -1)
