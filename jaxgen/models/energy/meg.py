"""Maximum entropy generators for energy-based models (1901.08508): an energy E, a generator G whose samples stand in
for those of exp(−E), and a statistics network T that keeps them apart.

    L_E = mean E(x) − mean E(G(z)) + λ mean ‖∇_x E(x)‖²        the norm over a whole real image
    L_T = −I_JSD(z; G(z))
    L_G = mean E(G(z)) − γ I_JSD(z; G(z))
    I_JSD(z; x) = E_{p(x,z)}[−sp(−T(x, z))] − E_{p(x)p(z)}[sp(T(x, z))]         (1606.00709; sp is softplus)

The gradient of log p by E's parameters needs samples of exp(−E): the generator's are taken. For them to be spread as
wide as exp(−E) is, the generator maximises its entropy, which is the information between z and G(z), as z decides G(z).
I_JSD stands for it, between −2 log 2, where T tells nothing, and 0. The energy takes `energy_steps` steps for one of
the statistics network and, behind it, of the generator.

Samples are the generator's, or those of a chain among codes by `code_energy`,

    U(z) = E(G(z)) − log p(z) = E(G(z)) + ½‖z‖²,

of which exp(−U) is the prior, tilted towards images of low energy (2003.06060). The paper's chain has E(G(z)) alone.

Deviations: the nets are those of `models.gan.nets`, without a norm in E and T; products of marginals have fresh draws
of z in place of permuted ones.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxgen.core.capabilities import LatentEnergy
from jaxgen.core.checks import at_least, one_of
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.core.keys import of_examples
from jaxgen.core.model import Aux, Batch, Images, Model, Objective, PRNGKey, Variables
from jaxgen.maths.penalties import score_penalty
from jaxgen.models.gan.nets import NETS, Critic, Generator


def jsd_information(joint: Float[Array, " n"], product: Float[Array, " m"]) -> Float[Array, ""]:
    """I_JSD, from statistics T of pairs drawn together and of pairs drawn independently.

    The best T is log p(x,z) / p(x)p(z), where it is twice the Jensen–Shannon divergence of the joint distribution from
    the product (nats), less 2 log 2.

    >>> round(float(jsd_information(jnp.zeros(2), jnp.zeros(3))), 4)  # a T that knows nothing
    -1.3863
    """
    return -jax.nn.softplus(-joint).mean() - jax.nn.softplus(product).mean()


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaximumEntropy(Model):
    """The three players over examples [b,h,w,c] of floats, −1 to 1.

    net             "dense", "dcgan" or "resnet" (`models.gan.nets`)
    latent          numbers of z
    features        width of the nets
    norm            of the generator: "batch", "layer" or "none"
    energy_steps    steps of the energy for one of the others
    score_weight    λ, of the penalty on the energy's gradient where the data are
    entropy_weight  γ, of the generator's entropy
    """

    net: Literal["dense", "dcgan", "resnet"] = "dcgan"
    latent: int = 128
    features: int = 64
    norm: Literal["batch", "layer", "none"] = "batch"
    energy_steps: int = 5
    score_weight: float = 0.1
    entropy_weight: float = 1.0
    dtype: str = "float32"

    conditioned_on: ClassVar[tuple[type, ...]] = ()
    averaged: ClassVar = ("params", "batch_stats")

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        one_of(self, net=tuple(NETS), norm=("batch", "layer", "none"))
        at_least(self, latent=1, features=1, energy_steps=1)
        for weight in ("score_weight", "entropy_weight"):
            if not 0 <= getattr(self, weight) < math.inf:
                raise UsageError(f"{name}: {weight} must be a number of at least 0, got {getattr(self, weight)}.")
        divides, sides = NETS[self.net].divides, self.example_shape[:2]
        if self.net == "dcgan" and max(sides) < 5:
            raise UsageError(f"{name}: wanted images with a side of at least 5 pixels, got {sides}: use net='dense'.")
        if any(side % divides for side in sides):
            raise UsageError(
                f"{name}: net={self.net!r} wants sides that are divisible by {divides}, as it halves them, got "
                f"{sides}: use net='dcgan', which takes any, or other images."
            )

    @property
    @abc.abstractmethod
    def example_shape(self) -> tuple[int, int, int]:
        """(h, w, c) of an example."""

    @abc.abstractmethod
    def real(self, batch: Batch) -> Float[Array, "b h w c"]:
        """The examples of a batch, −1 to 1."""

    @property
    def generator(self) -> Generator:
        """From z to an example."""
        return NETS[self.net].generator(self.example_shape, self.features, self.norm, self.dtype)

    @property
    def energy_net(self) -> Critic:
        """From an example to its energy, of which only differences count."""
        return NETS[self.net].critic(self.example_shape, self.features, bias=False, dtype=self.dtype)

    @property
    def statistics(self) -> Critic:
        """From an example, and z as its condition, to T."""
        return NETS[self.net].critic(self.example_shape, self.features, dtype=self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        generator_key, energy_key, statistics_key = jax.random.split(key, 3)
        z, x = jnp.zeros((1, self.latent)), jnp.zeros((1, *self.example_shape))
        generator = self.generator.init(generator_key, z, train=False)
        return {
            "params": {
                "generator": generator["params"],
                "energy": self.energy_net.init(energy_key, x, train=False)["params"],
                "statistics": self.statistics.init(statistics_key, x, z, train=False)["params"],
            },
            "batch_stats": generator.get("batch_stats", {}),
        }

    def objectives(self) -> tuple[Objective, ...]:
        """The energy's, then the statistics network's, then the generator's, which meets both just updated."""
        return (
            Objective("energy", self._energy_loss, trains=("energy",)),
            Objective("statistics", self._statistics_loss, trains=("statistics",), every=self.energy_steps),
            Objective("generator", self._generator_loss, trains=("generator",), every=self.energy_steps),
        )

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """z, N(0, I)."""
        return jax.random.normal(key, (num, self.latent))

    def generated(self, variables: Variables, z: Float[Array, "b d"]) -> Float[Array, "b h w c"]:
        """G(z) after training: batch norm reads its running statistics."""
        net = {"params": variables["params"]["generator"], "batch_stats": variables["batch_stats"]}
        example: Any = self.generator.apply(net, z, train=False)
        return example

    def energy_of(self, variables: Variables, x: Float[Array, "b h w c"]) -> Float[Array, " b"]:
        """E(x) of examples, −1 to 1."""
        scores, _ = self.energy_net.apply({"params": variables["params"]["energy"]}, x)
        return scores[:, 0]

    def code_energy(self, variables: Variables, z: Float[Array, "b d"]) -> Float[Array, " b"]:
        """U(z) = E(G(z)) + ½‖z‖²: −log of the density of codes, up to a constant."""
        return self.energy_of(variables, self.generated(variables, z)) + 0.5 * (z**2).sum(axis=1)

    def _energy_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        real = self.real(batch)
        fake, _ = self._draw(variables, of_examples(self.prior(key, len(real))))
        energy_real, energy_fake = (self.energy_of(variables, x).mean() for x in (real, jax.lax.stop_gradient(fake)))
        penalty = score_penalty(lambda x: self.energy_of(variables, x), real).mean()
        metrics = {"energy_real": energy_real, "energy_fake": energy_fake, "penalty": penalty}
        return energy_real - energy_fake + self.score_weight * penalty, Aux(metrics)

    def _statistics_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        z_key, other_key = jax.random.split(key)
        z = of_examples(self.prior(z_key, len(self.real(batch))))
        fake, _ = self._draw(variables, z)
        information = self._information(variables, jax.lax.stop_gradient(fake), z, other_key)
        return -information, Aux({"information": information})

    def _generator_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        z_key, other_key = jax.random.split(key)
        z = of_examples(self.prior(z_key, len(self.real(batch))))
        fake, updates = self._draw(variables, z)
        energy = self.energy_of(variables, fake).mean()
        return energy - self.entropy_weight * self._information(variables, fake, z, other_key), Aux({}, updates)

    def _information(self, variables: Variables, x: Array, z: Array, key: PRNGKey) -> Float[Array, ""]:
        """I_JSD of examples and the codes that they are made of, by T; `key` draws the codes of others."""
        net = {"params": variables["params"]["statistics"]}
        joint, product = (self.statistics.apply(net, x, z)[0][:, 0] for z in (z, of_examples(self.prior(key, len(z)))))
        return jsd_information(joint, product)

    def _draw(self, variables: Variables, z: Array) -> tuple[Float[Array, "b h w c"], Variables]:
        """G(z) in training, and its updated statistics."""
        net = {"params": variables["params"]["generator"], "batch_stats": variables["batch_stats"]}
        x, new = self.generator.apply(net, z, train=True, mutable=["batch_stats"])
        return x, {"batch_stats": dict(new.get("batch_stats", {}))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MEG(MaximumEntropy, LatentEnergy):
    """A maximum entropy generator of images, and their energy. It draws the generator's images."""

    spherical: ClassVar = True
    lacks: ClassVar = {
        "Scored": "its energy is −log p up to a constant that nobody knows: what it draws is judged as a set",
        "Density": "its energy is −log p up to a constant that nobody knows",
        "Autoregressive": "its energy is that of a whole image",
        "Completer": "it draws whole images",
        "Encoder": "it has no map from an image to a latent",
        "Reconstructor": "it has no map from an image to a latent",
        "Classifier": "its energy tells no classes",
        "Features": "its energy's features change with the generator, and are no yardstick",
    }

    @property
    def example_shape(self) -> tuple[int, int, int]:
        """The images'."""
        return self.shape

    def real(self, batch: Batch) -> Float[Array, "b h w c"]:
        """The images of a batch, −1 to 1."""
        return 2.0 * to_float(batch["image"], self.levels) - 1.0

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """G(z), rounded to the nearest level."""
        self.check_condition(condition, len(z))
        return from_float((self.generated(variables, z) + 1.0) / 2.0, self.levels)

    def energy(self, variables: Variables, image: Images) -> Float[Array, " b"]:
        """E(x) of each image."""
        return self.energy_of(variables, self.real({"image": image}))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointMEG(MaximumEntropy):
    """The same for points in a few dimensions, −1 to 1: the array "x" of a batch, float32[b,dims]."""

    net: Literal["dense", "dcgan", "resnet"] = "dense"
    latent: int = 2
    features: int = 16
    norm: Literal["batch", "layer", "none"] = "none"
    dims: int = 2

    @property
    def example_shape(self) -> tuple[int, int, int]:
        """A pixel with as many channels as there are dimensions."""
        return (1, 1, self.dims)

    def real(self, batch: Batch) -> Float[Array, "b h w c"]:
        """The points of a batch."""
        return self.as_examples(batch["x"])

    def as_examples(self, x: Float[Array, "b d"]) -> Float[Array, "b h w c"]:
        """Points as the nets take them, for `energy_of`. Raises `UsageError` for points of other dimensions."""
        if x.ndim != 2 or x.shape[1] != self.dims:
            raise UsageError(f"PointMEG: wanted points [b, {self.dims}] as x, got {list(x.shape)}: set dims to theirs.")
        return jnp.asarray(x, jnp.float32)[:, None, None]
