"""A generator that keeps N images, each under a code of its own, fixed or learned (GLO, 1707.05776).

    minimise  1/N Σ_i ℓ(g(√d z_i), x_i)  over g, and over learned z_i of ‖z_i‖ ≤ 1
    squared     mean (y − x)²
    laplacian   Σ_k mean |L_k(y) − L_k(x)|  +  mean (y − x)²

z_i begins as a uniform draw from the unit sphere. A fixed one stays what it is; a learned one moves with the generator,
and behind each step it is brought back to the unit ball. L_k is a level of the Laplacian pyramid: the paper's weight
2^{2j} of a level's sum is the mean over its pixels, of which it has 4^j times fewer. The net sees √d z, whose numbers
are of size 1.

What it draws lies between: images of codes on the great circle from one kept code to another, at a place drawn evenly.
Its prior is the sphere, in which fixed codes are draws as good as any, and learned ones no longer are.

Deviations from GLO: layer norm or none in place of batch norm, so that an image is made of its code alone, in training
and after it; the two losses in equal shares.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxgen.core.capabilities import Latent, Scored
from jaxgen.core.checks import at_least, one_of
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.core.model import Aux, Batch, Objective, PRNGKey, Variables, rows
from jaxgen.maths.pyramid import laplacian_l1
from jaxgen.models.gan.nets import NETS, Generator
from jaxgen.models.latent.autoencoder import LEAST_MSE

SHOWN = 9
"""Ways between two codes that are shown at an evaluation, and images of each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memoriser(Scored, Latent):
    """Keeps `images` images, which a batch names by "number", int32[b] (`data.memorised`).

    latent      d, numbers of z
    codes       "fixed" or "learned"
    net         "dense", "dcgan" or "resnet": a generator of `models.gan.nets`
    features    its width
    norm        "layer" or "none"
    loss        "squared" or "laplacian"

    >>> model = Memoriser(shape=(32, 32, 3), levels=256, images=256, codes="learned")
    >>> [objective.trains for objective in model.objectives()]
    [('generator', 'codes')]
    """

    images: int
    latent: int = 64
    codes: Literal["fixed", "learned"] = "fixed"
    net: Literal["dense", "dcgan", "resnet"] = "dcgan"
    features: int = 32
    norm: Literal["layer", "none"] = "layer"
    loss: Literal["squared", "laplacian"] = "squared"
    dtype: str = "float32"

    figure: ClassVar = "psnr"
    better: ClassVar = "higher"
    by_example: ClassVar = True
    spherical: ClassVar = True
    conditioned_on: ClassVar = ()
    lacks: ClassVar = {
        "Density": "its loss is an error of what it keeps, not a probability of an image",
        "Autoregressive": "its loss is an error of what it keeps, not a probability of an image",
        "Completer": "it gives back whole images",
        "Encoder": "it knows the codes of the images that it keeps by their numbers, and no map from an image to one",
        "Reconstructor": "it gives back images by their numbers, and sees none of them",
        "Classifier": "it knows no labels",
        "Features": "its codes have no meaning: measure in a classifier's features",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        name, (h, w, _) = type(self).__name__, self.shape
        one_of(self, net=tuple(NETS), codes=("fixed", "learned"), norm=("layer", "none"))
        one_of(self, loss=("squared", "laplacian"))
        at_least(self, latent=1, features=1)
        at_least(self, images=2, why="between one image and itself lies nothing")
        divides = NETS[self.net].divides
        if h % divides or w % divides:
            raise UsageError(
                f"{name}: net={self.net!r} wants sides that are divisible by {divides}, as it doubles maps, got "
                f"{h}×{w}: use net='dcgan', which takes any, or other images."
            )
        if self.net == "dcgan" and max(h, w) < 5:
            raise UsageError(f"{name}: wanted images with a side of at least 5 pixels, got {h}×{w}: use net='dense'.")

    @property
    def generator(self) -> Generator:
        """From √d z to an image in −1 … 1."""
        return NETS[self.net].generator(self.shape, self.features, self.norm, self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        generator_key, code_key = jax.random.split(key)
        net = self.generator.init(generator_key, jnp.zeros((1, self.latent)))
        codes = {"z": self.prior(code_key, self.images)}
        if self.codes == "fixed":
            return {"params": {"generator": net["params"]}, "codes": codes}
        return {"params": {"generator": net["params"], "codes": codes}}

    def objectives(self) -> tuple[Objective, ...]:
        """One: the error of what is given back, averaged over the batch."""
        if self.codes == "fixed":
            return (Objective("memory", self._loss, trains=("generator",), examples="separable"),)
        trains = ("generator", "codes")
        return (Objective("memory", self._loss, trains=trains, after=self._in_the_ball, examples="separable"),)

    def codes_of(self, variables: Variables, number: Int[Array | np.ndarray, " b"]) -> Float[Array, "b d"]:
        """The codes of images by their numbers."""
        z = (variables if self.codes == "fixed" else variables["params"])["codes"]["z"]
        return cast(Array, z[jnp.asarray(number)])

    def intensity(self, variables: Variables, z: Float[Array, "b d"]) -> Float[Array, "b h w c"]:
        """The image of each code, 0 … 1, before it is rounded."""
        y: Any = self.generator.apply({"params": variables["params"]["generator"]}, math.sqrt(self.latent) * z)
        return (y + 1.0) / 2.0

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """z, uniform on the unit sphere."""
        z = jax.random.normal(key, (num, self.latent))
        return z / jnp.linalg.norm(z, axis=1, keepdims=True)

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The image of each code, rounded to the nearest level."""
        self.check_condition(condition, len(z))
        return from_float(self.intensity(variables, z), self.levels)

    def sample(self, variables: Variables, key: PRNGKey, num: int, condition: Any = None) -> UInt8[Array, "num h w c"]:
        """Images of codes between two kept ones."""
        return self.decode(variables, self.codes_between(variables, key, num), condition)

    def codes_between(self, variables: Variables, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """Codes between two kept ones, a pair and a place on the way drawn for each."""
        pair_key, place_key = jax.random.split(key)
        first, step = jax.random.randint(pair_key, (2, num), jnp.array([[0], [1]]), self.images)
        a, b = (self.codes_of(variables, number) for number in (first, (first + step) % self.images))
        return jax.vmap(self.between)(a, b, jax.random.uniform(place_key, (num,)))

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "psnr" of each image given back, in dB, −10 log₁₀ mse, at most 100; "mse", per sub-pixel in units of the
        full range; and "exact", the percentage of sub-pixels that are rounded to their very level."""
        x, image = to_float(batch["image"], self.levels), jnp.asarray(batch["image"])
        y = self.intensity(variables, self.codes_of(variables, batch["number"]))
        mse = ((y - x) ** 2).mean(axis=(1, 2, 3))
        exact = 100.0 * (from_float(y, self.levels) == image).mean(axis=(1, 2, 3))
        return {"psnr": -10.0 * jnp.log10(jnp.maximum(mse, LEAST_MSE)), "mse": mse, "exact": exact}

    def shows(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Any]:
        """Images and, side by side with them, what is given back; and ways from some of them to their neighbours."""
        image, z = jnp.asarray(batch["image"]), self.codes_of(variables, batch["number"])
        a, b = z[:SHOWN], jnp.roll(z, -1, axis=0)[:SHOWN]
        ways = jax.vmap(lambda t: jax.vmap(self.between, (0, 0, None))(a, b, t))
        pictures = jax.vmap(lambda z: self.decode(variables, z))(ways(jnp.linspace(0.0, 1.0, SHOWN)))
        return {
            "reconstructions": jnp.concatenate([image, self.decode(variables, z)], axis=2),
            "between": jnp.concatenate(list(pictures), axis=2),
        }

    def check_data(self, batch: Batch) -> None:
        """Raises `UsageError` where images have no numbers, or other ones than 0 to `images` − 1."""
        super().check_data(batch)
        self._check_numbers(batch)

    def check_scored(self, batch: Batch) -> None:
        """The same: an image is compared with what is kept under its number."""
        super().check_scored(batch)
        self._check_numbers(batch)

    def _check_numbers(self, batch: Batch) -> None:
        way = f"give `memorised(data, {self.images})` of `jaxgen.data.memorised`"
        if "number" not in batch:
            raise UsageError(f'Memoriser keeps images by "number", which these data lack: {way}.')
        number = batch["number"]
        if isinstance(number, np.ndarray) and not (number.min() >= 0 and number.max() < self.images):
            raise UsageError(
                f"Memoriser keeps images 0 to {self.images - 1}, and these {rows(batch)} have numbers {number.min()} "
                f"to {number.max()}: {way}."
            )

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        x = to_float(batch["image"], self.levels)
        difference = self.intensity(variables, self.codes_of(variables, batch["number"])) - x
        mse = (difference**2).mean(axis=(1, 2, 3))
        loss = mse if self.loss == "squared" else mse + laplacian_l1(difference)
        return loss.mean(), Aux({"mse": mse.mean()})

    def _in_the_ball(self, variables: Variables, batch: Batch, key: PRNGKey) -> Variables:
        """With codes no longer than 1."""
        z = variables["params"]["codes"]["z"]
        z = z / jnp.maximum(jnp.linalg.norm(z, axis=1, keepdims=True), 1.0)
        return {**variables, "params": {**variables["params"], "codes": {"z": z}}}
