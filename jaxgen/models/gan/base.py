"""A generator against a critic (1406.2661), with any loss, penalty and nets.

Each step is one of the critic, on a batch of real images and as many fake ones; the generator's, which meets the critic
just updated, follows in every `critic_steps`-th.

    critic      mean of L_C(l_r, l_f) + penalty_weight · penalty                 `maths.adversarial`, `maths.penalties`
    generator   mean of L_G(l_r, l_f)

l_r and l_f are the critic's scores of real and fake images: of packs of `pack` images, each pack of one kind, where it
sees several at once (PacGAN, 1712.04086), the channels of the images side by side. z is N(0, I). With a condition the
generator draws under that of the real image at the same place, and the critic is told it of both (1411.1784).

Batch statistics: real and fake images pass the critic *separately*, each normalised by its own batch. The critic's
running statistics are those of real images, which it reads after training; the generator's are updated by its own
objective. Samples use the running statistics, so that they are independent of each other. A run's average (`ema` of the
recipe) is of parameters and of running statistics.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxgen.core import conditions
from jaxgen.core.capabilities import Adversarial, Latent
from jaxgen.core.checks import at_least, one_of
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.core.keys import of_examples
from jaxgen.core.model import Aux, Batch, Objective, PRNGKey, Variables, rows
from jaxgen.maths.adversarial import ADVERSARIAL, adversarial
from jaxgen.maths.penalties import PENALTIES, penalty
from jaxgen.models.gan.nets import NETS, Critic, Generator

Norm = Literal["batch", "layer", "none"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GAN(Latent, Adversarial):
    """A generator and a critic.

    net             "dense", "dcgan" or "resnet" (`models.gan.nets`)
    latent          numbers of z
    features        width of the nets
    norm            of the generator: "batch", "layer" or "none"
    critic_norm     the same of the critic
    spectral        divide the critic's weights by their largest singular value
    loss            a pair of `maths.adversarial.ADVERSARIAL`
    penalty         "none" or one of `maths.penalties.PENALTIES`, `penalty_weight` times in the critic's loss
    clip            the largest size of a critic's weight, to which each step cuts it back; None: any
    critic_steps    steps of the critic for one of the generator
    pack            images of one kind that the critic sees at once
    minibatch       kernels of minibatch discrimination, 0: none
    condition       classes or vectors that both nets are told

    >>> model = GAN(shape=(28, 28, 1), levels=256, loss="wgan", penalty="two-sided", critic_steps=5)
    >>> [(objective.name, objective.every) for objective in model.objectives()]
    [('critic', 1), ('generator', 5)]
    """

    net: Literal["dense", "dcgan", "resnet"] = "dcgan"
    latent: int = 100
    features: int = 64
    norm: Norm = "batch"
    critic_norm: Norm = "none"
    spectral: bool = False
    loss: str = "non-saturating"
    penalty: Literal["none", "two-sided", "one-sided", "r1"] = "none"
    penalty_weight: float = 10.0
    clip: float | None = None
    critic_steps: int = 1
    pack: int = 1
    minibatch: int = 0
    dtype: str = "float32"

    conditioned_on: ClassVar[tuple[type, ...]] = (conditions.Classes, conditions.Vector)
    spherical: ClassVar = True
    averaged: ClassVar = ("params", "batch_stats")
    lacks: ClassVar = {
        "Scored": "a GAN defines a sampler, and its losses are a game's, no figures of held-out images",
        "Density": "a GAN defines a sampler and no likelihood",
        "Autoregressive": "a GAN defines a sampler and no likelihood",
        "Completer": "a GAN draws whole images",
        "Encoder": "it has no map from an image to a latent",
        "Reconstructor": "it has no map from an image to a latent",
        "Classifier": "its critic tells real from fake, and no classes",
        "Features": "its critic's features change with the generator, and are no yardstick",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        norms = ("batch", "layer", "none")
        one_of(self, net=tuple(NETS), norm=norms, critic_norm=norms, loss=tuple(ADVERSARIAL))
        one_of(self, penalty=("none", *PENALTIES))
        at_least(self, latent=1, features=1, critic_steps=1, pack=1, minibatch=0)
        divides, sides = NETS[self.net].divides, self.shape[:2]
        if self.net == "dcgan" and max(sides) < 5:
            raise UsageError(f"{name}: wanted images with a side of at least 5 pixels, got shape {self.shape}.")
        if any(side % divides for side in sides):
            raise UsageError(
                f"{name}: net={self.net!r} wants sides that are divisible by {divides}, as it halves them, got shape "
                f"{self.shape}: use net='dcgan', which takes any, or other images."
            )
        if not 0 < self.penalty_weight < math.inf:
            raise UsageError(
                f"{name}: penalty_weight must be a number above 0, got {self.penalty_weight}: penalty='none' leaves "
                "the penalty out."
            )
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise UsageError(f"{name}: clip must be a number above 0, or None for none, got {self.clip}.")
        if self.penalty != "none":
            self._check_penalty(name)
        if self.clip is not None and self.spectral:
            raise UsageError(
                f"{name}: clip={self.clip} bounds weights whose size spectral=True divides out again: use one of them."
            )

    def _check_penalty(self, name: str) -> None:
        if self.clip is not None:
            raise UsageError(
                f"{name}: penalty={self.penalty!r} and clip={self.clip} hold the critic twice, and clipped weights do "
                "not reach the gradient that the penalty asks for: use one of them."
            )
        for reason, mixed in (
            ("critic_norm='batch'", self.critic_norm == "batch"),
            ("minibatch discrimination", self.minibatch > 0),
        ):
            if mixed:
                raise UsageError(
                    f"{name}: penalty={self.penalty!r} is of the gradient of a score by its own image, and with "
                    f"{reason} a score depends on the whole batch: use critic_norm='layer' or 'none' and minibatch=0."
                )

    @property
    def generator(self) -> Generator:
        """From z to an image."""
        return NETS[self.net].generator(self.shape, self.features, self.norm, self.dtype)

    @property
    def critic(self) -> Critic:
        """From a pack of images to scores and features."""
        h, w, c = self.shape
        knobs = dict(norm=self.critic_norm, spectral=self.spectral, minibatch=self.minibatch, dtype=self.dtype)
        return NETS[self.net].critic((h, w, self.pack * c), self.features, **knobs)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        generator_key, critic_key = jax.random.split(key)
        h, w, c = self.shape
        told = 0 if self.condition is None else self.condition.features
        of_generator, of_critic = (None, None) if not told else (jnp.zeros((1, told)), jnp.zeros((1, self.pack * told)))
        nets = {
            "generator": self.generator.init(generator_key, jnp.zeros((1, self.latent)), of_generator, train=False),
            "critic": self.critic.init(critic_key, jnp.zeros((1, h, w, self.pack * c)), of_critic, train=False),
        }
        return {
            "params": {name: net["params"] for name, net in nets.items()},
            "batch_stats": {name: net["batch_stats"] for name, net in nets.items() if "batch_stats" in net},
        }

    def objectives(self) -> tuple[Objective, ...]:
        """The critic's, then the generator's, which meets the critic just updated."""
        after = None if self.clip is None else self._clipped
        return (
            Objective("critic", self._critic_loss, trains=("critic",), after=after),
            Objective("generator", self._generator_loss, trains=("generator",), every=self.critic_steps),
        )

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """z, N(0, I)."""
        return jax.random.normal(key, (num, self.latent))

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The generator's images, rounded to the nearest level; batch norm reads its running statistics."""
        self.check_condition(condition, len(z))
        net = {name: part.get("generator", {}) for name, part in variables.items() if name in self.averaged}
        image: Any = self.generator.apply(net, z, self.vector(variables, condition, len(z)), train=False)
        return from_float((image + 1.0) / 2.0, self.levels)

    def critic_scores(
        self, variables: Variables, x: Float[Array, "b h w c"], condition: Any = None
    ) -> Float[Array, "b outputs"]:
        """Scores of images, 0 to 1; of each beside itself, where the critic sees packs. Batch norm reads its running
        statistics, those of real images."""
        self.check_condition(condition, len(x))
        net = {name: part.get("critic", {}) for name, part in variables.items() if name in self.averaged}
        told = self.vector(variables, condition, len(x))
        told = None if told is None else jnp.tile(told, (1, self.pack))
        scores, _ = self.critic.apply(net, jnp.tile(2.0 * x - 1.0, self.pack), told, train=False)
        return scores

    # What a subclass may change: what is real, what is drawn, what the critic and the generator minimise.

    def real(self, batch: Batch) -> Float[Array, "b h w c"]:
        """The images of a batch, in −1 … 1."""
        return 2.0 * to_float(batch["image"], self.levels) - 1.0

    def condition_vector(self, variables: Variables, batch: Batch, key: PRNGKey) -> Float[Array, "b k"] | None:
        """The conditions of a batch as vectors, some labels of it dropped where the condition says so."""
        return self.vector(variables, conditions.drop(self.condition, self.trained_on(batch), key), rows(batch))

    def vector(self, variables: Variables, condition: Any, num: int) -> Float[Array, "num k"] | None:
        """A condition as both nets get it: of classes one-hot."""
        told = conditions.features(self.condition, condition, num)
        return None if told is None else told[:, 0, 0]

    def draw(
        self, variables: Variables, key: PRNGKey, num: int, condition: Float[Array, "num k"] | None = None
    ) -> tuple[Float[Array, "num h w c"], Variables]:
        """Images of the generator in training, under vectors as a condition, and its updated statistics."""
        return self._apply("generator", variables, of_examples(self.prior(key, num)), condition)

    def scored(
        self, variables: Variables, x: Float[Array, "b h w c"], condition: Float[Array, "_ k"] | None = None
    ) -> tuple[Float[Array, "n outputs"], Float[Array, "n d"], Variables]:
        """The critic's scores of packs of images, their features, and its updated statistics."""
        (scores, features), updates = self._apply("critic", variables, self.packed(x), self.packed(condition))
        return scores, features, updates

    def packed(self, x: Any) -> Any:
        """Images [b,h,w,c] as packs [b/m,h,w,m·c] of m neighbours, the channels of the first in front; so vectors.
        None stays None. Raises `UsageError` where packs do not divide the batch."""
        if x is None or self.pack == 1:
            return x
        if len(x) % self.pack:
            raise UsageError(
                f"{type(self).__name__}: pack={self.pack} must divide the batch, got {len(x)} images: change either."
            )
        x = x.reshape(len(x) // self.pack, self.pack, *x.shape[1:])
        return jnp.concatenate([x[:, i] for i in range(self.pack)], axis=-1)

    def _critic_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        noise_key, penalty_key, drop_key = jax.random.split(key, 3)
        real, condition = self.real(batch), self.condition_vector(variables, batch, drop_key)
        fake, _ = self.draw(variables, noise_key, len(real), condition)
        terms, aux = self._critic_terms(variables, real, jax.lax.stop_gradient(fake), condition, batch, penalty_key)
        return terms.mean(), aux

    def _critic_terms(
        self, variables: Variables, real: Array, fake: Array, condition: Array | None, batch: Batch, key: PRNGKey
    ) -> tuple[Float[Array, " n"], Aux]:
        """What the critic minimises on each pack, penalty and all."""
        real_scores, _, updates = self.scored(variables, real, condition)
        fake_scores, _, _ = self.scored(variables, fake, condition)
        real_score, fake_score, packs = real_scores[:, 0], fake_scores[:, 0], (self.packed(real), self.packed(fake))
        terms = adversarial(self.loss).critic_terms(real_score, fake_score, *packs)
        metrics = {"score_real": real_score.mean(), "score_fake": fake_score.mean()}
        if self.penalty != "none":
            told = self.packed(condition)
            critic = lambda x: self._apply("critic", variables, x, told)[0][0][:, 0]  # noqa: E731
            cost = penalty(self.penalty)(critic, *packs, key)
            terms, metrics = terms + self.penalty_weight * cost, {**metrics, "penalty": cost.mean()}
        return terms, Aux(metrics, updates)

    def _generator_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        noise_key, drop_key = jax.random.split(key)
        real, condition = self.real(batch), self.condition_vector(variables, batch, drop_key)
        fake, updates = self.draw(variables, noise_key, len(real), condition)
        return self._generator_terms(variables, real, fake, condition, batch).mean(), Aux({}, updates)

    def _generator_terms(
        self, variables: Variables, real: Array, fake: Array, condition: Array | None, batch: Batch
    ) -> Float[Array, " n"]:
        """What the generator minimises on each pack."""
        real_scores, _, _ = self.scored(variables, real, condition)
        fake_scores, _, _ = self.scored(variables, fake, condition)
        return adversarial(self.loss).generator(real_scores[:, 0], fake_scores[:, 0])

    def _apply(self, name: str, variables: Variables, x: Array, condition: Array | None = None) -> tuple[Any, Any]:
        """Output of a net in training, and `batch_stats` of both nets with its own updated."""
        stats = variables["batch_stats"]
        net = {"params": variables["params"][name], "batch_stats": stats.get(name, {})}
        y, new = getattr(self, name).apply(net, x, condition, train=True, mutable=["batch_stats"])
        return y, {"batch_stats": {**stats, **({name: new["batch_stats"]} if name in stats else {})}}

    def _clipped(self, variables: Variables, batch: Batch, key: PRNGKey) -> Variables:
        """With the critic's weights cut back to −c … c (1701.07875, algorithm 1)."""
        c: Any = self.clip
        critic = jax.tree.map(lambda w: jnp.clip(w, -c, c), variables["params"]["critic"])
        return {**variables, "params": {**variables["params"], "critic": critic}}
