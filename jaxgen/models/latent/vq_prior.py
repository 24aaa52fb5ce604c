"""The second stage of VQ-VAE: a pixel model as the prior of its codes (1711.00937, §3.2).

A map of codes is an image of few pixels, which any pixel model learns and draws. A code of K is written in `digits`
digits, the highest first, each a channel of that image with K^(1/digits) levels: one is the plain code, and more of
them write codebooks of above 256 entries. On 8×8 digits and 64 codes one digit did better than six: at best a map of
16 codes cost 52.1 and 57.0 nats of held-out images.

    log p(x) = log Σ_z p(z) p(x|z) ≥ log p(z_q(x)) + log p(x|z_q(x))

The VQ-VAE is that of another run and stays as it is (`Graft`): its codes of the training images are made once, before
the first step. Or it is trained in the same run, in the steps before `first`, and stays as it is from then on.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from jaxgen.core import conditions
from jaxgen.core.capabilities import Density, Encoder, Reconstructor, Sampler
from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim
from jaxgen.core.model import Aux, Batch, Images, Objective, PRNGKey, Variables
from jaxgen.models.latent.vqvae import VQVAE
from jaxgen.models.pixel.base import PixelModel

MOST_LEVELS = 256
"""Of a digit: what an image can hold."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VQPrior(Density, Sampler, Encoder, Reconstructor):
    """A VQ-VAE, and a pixel model of its codes.

    `vqvae` and `prior` say which models and with what settings; their shapes and levels, and the condition of the
    prior, are set here (`stage_one`, `stage_two`). With `first` 0 the VQ-VAE's variables are "frozen", into which a
    graft puts those of a run; otherwise they are trained in the steps before `first`, and the prior from then on.

    >>> from jaxgen.models import GatedPixelCNN
    >>> image = dict(shape=(28, 28, 1), levels=256)
    >>> model = VQPrior(vqvae=VQVAE(entries=64, **image), prior=GatedPixelCNN(**image), digits=3, **image)
    >>> model.stage_two.shape, model.stage_two.levels
    ((7, 7, 3), 4)
    """

    vqvae: VQVAE
    prior: PixelModel
    digits: int = 1
    first: int = 0

    exact: ClassVar = False
    by_example: ClassVar = True
    conditioned_on: ClassVar = (conditions.Classes, conditions.Vector)
    averaged: ClassVar = VQVAE.averaged
    lacks: ClassVar = {
        "Autoregressive": "its codes are, its pixels are independent given them",
        "Latent": "the prior of its codes is learned, and draws codes, no vectors",
        "Completer": "it has no encoder of partial images",
        "Classifier": "it knows no classes but as a condition",
        "Features": "its codes are made to give images back, not to tell sets of them apart",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in (("vqvae", VQVAE), ("prior", PixelModel)):
            if not isinstance(getattr(self, name), kind):
                have = type(getattr(self, name)).__name__
                raise UsageError(f"VQPrior: {name} must be a {kind.__name__}, got {have}.")
        if self.prior.condition is not None:
            raise UsageError("VQPrior: leave the condition of prior away, and give it to the VQPrior itself.")
        at_least(self, digits=1, first=0)
        if self._base**self.digits != self.vqvae.entries or self._base > MOST_LEVELS:
            raise UsageError(
                f"VQPrior: the VQ-VAE has {self.vqvae.entries} codes, which {self.digits} digits of 2 to {MOST_LEVELS} "
                "levels each do not write: choose digits such that levels to that power is the number of codes, or "
                "another number of codes, as 256 with 1, 2, 4 or 8 digits."
            )
        _ = self.stage_one, self.stage_two  # what the two models refuse is refused now

    @property
    def _base(self) -> int:
        """Levels of a digit."""
        return round(self.vqvae.entries ** (1.0 / self.digits))

    @property
    def stage_one(self) -> VQVAE:
        """`vqvae`, made for these images."""
        return dataclasses.replace(self.vqvae, shape=self.shape, levels=self.levels)

    @property
    def stage_two(self) -> PixelModel:
        """`prior`, made for the map of codes."""
        shape = (*self.stage_one.code_shape, self.digits)
        return dataclasses.replace(self.prior, shape=shape, levels=self._base, condition=self.condition)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; the prior may look at the codes of the batch's images, if there are any."""
        for_one, for_two = jax.random.split(key)
        one = self.stage_one.init(for_one, batch)
        codes = {"image": self.written(self.stage_one.codes(one, batch["image"]))} if "image" in batch else {}
        prior = {"prior": self.stage_two.init(for_two, codes)["params"]}
        if not self.first:
            return {"params": prior, "frozen": one}
        return {**one, "params": {**one["params"], **prior}}

    def _one(self, variables: Variables) -> Variables:
        """The VQ-VAE's variables."""
        return variables if self.first else variables["frozen"]

    def objectives(self) -> tuple[Objective, ...]:
        """The prior's likelihood of the codes, in nats per digit; before it the VQ-VAE's loss, where it is trained."""
        (objective,) = self.stage_two.objectives()

        def loss(variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
            codes = batch["codes"] if "codes" in batch else self.codes(variables, batch["image"])
            value, aux = objective.loss(_prior(variables), {**batch, "image": self.written(codes)}, key)
            nats = aux.metrics["nats"]
            return value, Aux({"code_nats": nats}, shown={"bits_per_code": bits_per_dim(nats, codes.shape[1:])})

        prior = dataclasses.replace(objective, name="prior", loss=loss, trains=("prior",), begin=self.first)
        if not self.first:
            return (prior,)
        return (*(dataclasses.replace(o, end=self.first) for o in self.stage_one.objectives()), prior)

    def derived(self, variables: Variables, batch: Batch) -> Batch:
        """The codes of images, where they stay what they are."""
        return {} if self.first else {"codes": self.codes(variables, batch["image"])}

    def codes(self, variables: Variables, image: Images) -> Int[Array, "b h2 w2"]:
        """The map of codes of each image."""
        return self.stage_one.codes(self._one(variables), image)

    def written(self, codes: Int[Array, "b h2 w2"]) -> UInt8[Array, "b h2 w2 digits"]:
        """Codes as the prior's images: digits, the highest first."""
        powers = self._base ** jnp.arange(self.digits - 1, -1, -1)
        return (codes[..., None] // powers % self._base).astype(jnp.uint8)

    def read(self, image: UInt8[Array, "b h2 w2 digits"]) -> Int[Array, "b h2 w2"]:
        """The codes that the prior's images write."""
        return (image.astype(jnp.int32) * self._base ** jnp.arange(self.digits - 1, -1, -1)).sum(axis=-1)

    def nats(self, variables: Variables, image: Images, condition: Any = None) -> dict[str, Float[Array, " b"]]:
        """What each image costs: "code_nats", −log p(z_q), and "reconstruction_nats", −log p(x|z_q)."""
        codes = self.codes(variables, image)
        prior = self.stage_two.log_prob(_prior(variables), self.written(codes), jax.random.key(0), condition)
        reconstruction = self.stage_one.log_likelihood(self._one(variables), image, codes)
        return {"code_nats": -prior, "reconstruction_nats": -reconstruction}

    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """log p(z_q) + log p(x|z_q) of the codes that each image has, a lower bound of log p(x). Draws nothing."""
        parts = self.nats(variables, image, condition)
        return -parts["code_nats"] - parts["reconstruction_nats"]

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "nats" and "bits_per_dim" of the bound, and the two parts that make up the former."""
        parts = self.nats(variables, batch["image"], self.condition_of(batch))
        nats = parts["code_nats"] + parts["reconstruction_nats"]
        return {"nats": nats, "bits_per_dim": bits_per_dim(nats, self.shape), **parts}

    def sample(
        self, variables: Variables, key: PRNGKey, num: int, condition: Any = None, temperature: float = 1.0
    ) -> UInt8[Array, "num h w c"]:
        """`num` images of codes that the prior draws: for each the mean of p(x|z), without the noise of its pixels.

        `temperature` divides the log-probabilities of each draw of a digit. Labels in turn by default.
        """
        drawn = self.stage_two.sample(_prior(variables), key, num, condition, temperature)
        return self.decode_codes(variables, self.read(drawn))

    def decode_codes(self, variables: Variables, codes: Int[Array, "b h2 w2"]) -> UInt8[Array, "b h w c"]:
        """The image of each map of codes, as the VQ-VAE gives it."""
        return self.stage_one.decode_codes(self._one(variables), codes)

    def encode(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b d"]:
        """The chosen entries of the codebook, place by place."""
        self.check_condition(condition, len(image))
        return self.stage_one.encode(self._one(variables), image)

    def reconstruct(self, variables: Variables, image: Images, condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The image of each image's codes."""
        self.check_condition(condition, len(image))
        return self.stage_one.reconstruct(self._one(variables), image)


def _prior(variables: Variables) -> Variables:
    """The prior's variables."""
    return {"params": variables["params"]["prior"]}
