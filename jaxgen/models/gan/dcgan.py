"""Deep convolutional GAN (1511.06434): strided 5×5 convolutions, batch norm, and a pair of adversarial losses.

The generator projects z to a map of about 4×4 and doubles it by transposed convolutions: four of them for 64×64 as in
the paper's fig. 1, three for 32×32 and 28×28 (4 → 7 → 14 → 28), one for 8×8. A side that is no power of two is halved
rounding up, and each transposed convolution has the geometry of the critic's SAME convolution between the same two
sizes, turned round. Widths double with every halving, from `features` next to the image (the paper's figure has 128).

ReLU in the generator, LeakyReLU .2 in the critic, tanh at the output; batch norm everywhere but on the generator's
output and the critic's input, without a bias before it; weights from N(0, .02²); z uniform on [−1, 1].

Batch statistics: real and fake images pass the critic *separately*, each normalised by its own batch. The critic's
running statistics are those of real images, which it reads after training; the generator's are updated by its own
objective. Samples use the running statistics, so that they are independent of each other.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxgen.core.capabilities import Latent
from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.core.model import Aux, Batch, Objective, PRNGKey, Variables
from jaxgen.maths.adversarial import adversarial

KERNEL = 5
INITIAL = nn.initializers.normal(0.02)


def pyramid(shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Heights and widths of the maps, smallest first: the image halved, rounding up, until neither side exceeds 4."""
    sizes = [shape[:2]]
    while max(sizes[0]) > 4:
        h, w = sizes[0]
        sizes.insert(0, (-(-h // 2), -(-w // 2)))
    return sizes


def up_padding(small: int, large: int) -> tuple[int, int]:
    """Padding that makes a transposed convolution of stride 2 the reverse of the SAME one from `large` to `small`."""
    total = max((small - 1) * 2 + KERNEL - large, 0)
    low = total // 2
    return KERNEL - 1 - low, KERNEL - 1 - (total - low)


class Generator(nn.Module):
    """From z to an image in −1 … 1, float32."""

    shape: tuple[int, int, int]
    features: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: Float[Array, "b d"], train: bool) -> Float[Array, "b h w c"]:
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, dtype=self.dtype)
        sizes = pyramid(self.shape)
        width = self.features * 2 ** (len(sizes) - 2)
        project = nn.Dense(math.prod(sizes[0]) * width, use_bias=False, dtype=self.dtype, kernel_init=INITIAL)
        y = nn.relu(norm()(project(z).reshape(len(z), *sizes[0], width)))
        for small, large in itertools.pairwise(sizes):
            last = large == sizes[-1]
            width = self.shape[-1] if last else width // 2
            y = nn.ConvTranspose(
                width,
                (KERNEL, KERNEL),
                strides=(2, 2),
                padding=[up_padding(s, n) for s, n in zip(small, large)],
                use_bias=last,
                dtype=self.dtype,
                kernel_init=INITIAL,
            )(y)
            y = y if last else nn.relu(norm()(y))
        return jnp.tanh(y.astype(jnp.float32))


class Critic(nn.Module):
    """From an image in −1 … 1 to the logit of its being real, float32."""

    shape: tuple[int, int, int]
    features: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, " b"]:
        for i in range(len(pyramid(self.shape)) - 1):
            conv = nn.Conv(
                self.features * 2**i,
                (KERNEL, KERNEL),
                strides=(2, 2),
                use_bias=i == 0,
                dtype=self.dtype,
                kernel_init=INITIAL,
            )
            x = conv(x)
            if i:
                x = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.dtype)(x)
            x = nn.leaky_relu(x, 0.2)
        logit = nn.Dense(1, dtype=self.dtype, kernel_init=INITIAL)(x.reshape(len(x), -1))
        return logit[:, 0].astype(jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DCGAN(Latent):
    """A DCGAN: the critic's step, then the generator's. `loss` is one of `maths.adversarial.ADVERSARIAL`."""

    latent: int = 100
    features: int = 64
    loss: str = "non-saturating"
    dtype: str = "float32"

    conditioned_on: ClassVar = ()
    lacks: ClassVar = {
        "Scored": "a GAN defines a sampler, and its losses are a game's, no figures of held-out images",
        "Density": "a GAN defines a sampler and no likelihood",
        "Autoregressive": "a GAN defines a sampler and no likelihood",
        "Completer": "a GAN draws whole images",
        "Encoder": "it has no map from an image to a latent",
        "Reconstructor": "it has no map from an image to a latent",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        adversarial(self.loss)
        if max(self.shape[:2]) < 5:
            raise UsageError(f"DCGAN: wanted images with a side of at least 5 pixels, got shape {self.shape}.")
        at_least(self, latent=1, features=1)

    @property
    def generator(self) -> Generator:
        return Generator(self.shape, self.features, self.dtype)

    @property
    def critic(self) -> Critic:
        return Critic(self.shape, self.features, self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        generator_key, critic_key = jax.random.split(key)
        made = {
            "generator": self.generator.init(generator_key, jnp.zeros((1, self.latent)), train=False),
            "critic": self.critic.init(critic_key, jnp.zeros((1, *self.shape)), train=False),
        }
        # A critic of one layer has no batch norm, and then no statistics.
        return {
            "params": {name: net["params"] for name, net in made.items()},
            "batch_stats": {name: net["batch_stats"] for name, net in made.items() if "batch_stats" in net},
        }

    def objectives(self) -> tuple[Objective, ...]:
        """The critic's, then the generator's, which meets the critic just updated."""
        return (
            Objective("critic", self._critic_loss, trains=("critic",)),
            Objective("generator", self._generator_loss, trains=("generator",)),
        )

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """z, uniform on [−1, 1]."""
        return jax.random.uniform(key, (num, self.latent), minval=-1.0, maxval=1.0)

    def _apply(self, name: str, variables: Variables, x: Array) -> tuple[Array, Variables]:
        """Output of a net in training, and `batch_stats` of both nets with its own updated."""
        stats = variables["batch_stats"]
        net = {"params": variables["params"][name], "batch_stats": stats.get(name, {})}
        y, new = getattr(self, name).apply(net, x, train=True, mutable=["batch_stats"])
        return y, {"batch_stats": {**stats, **({name: new["batch_stats"]} if name in stats else {})}}

    def _critic_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        real = 2.0 * to_float(batch["image"], self.levels) - 1.0
        fake, _ = self._apply("generator", variables, self.prior(key, len(real)))
        real_logit, updates = self._apply("critic", variables, real)
        fake_logit, _ = self._apply("critic", variables, jax.lax.stop_gradient(fake))
        loss = adversarial(self.loss).critic(real_logit, fake_logit).mean()
        return loss, Aux({"logit_real": real_logit.mean(), "logit_fake": fake_logit.mean()}, updates)

    def _generator_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        fake, updates = self._apply("generator", variables, self.prior(key, len(batch["image"])))
        logit, _ = self._apply("critic", variables, fake)
        return adversarial(self.loss).generator(logit).mean(), Aux({}, updates)

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The generator's images, rounded to the nearest level; batch norm reads its running statistics."""
        self.check_condition(condition, len(z))
        net = {"params": variables["params"]["generator"], "batch_stats": variables["batch_stats"]["generator"]}
        image: Any = self.generator.apply(net, z, train=False)
        return from_float((image + 1.0) / 2.0, self.levels)
