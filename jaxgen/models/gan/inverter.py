"""The way back of a generator: a net that guesses the code of an image (1609.03552, §3.2), for a first guess of where
an image lies among those that are drawn.

    loss = 1/d |E(G(z)) − z|²/s² + w · 1/n |G(E(x)) − x|²,   z of the prior, of standard deviation s, x of the data

G is any model that decodes codes of a known prior without a condition, as it is: what its run brings is frozen. The
second term is the paper's eq. 4; the first, of the generator's own images, whose codes are known, is added, since the
second alone may leave the codes that are drawn. Images count as −1 … 1 in it. With its generator the model is a whole
one: it draws and decodes as that does, encodes, and gives images back.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxgen.core.capabilities import Encoder, Latent, Reconstructor, Scored, require
from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.keys import example_keys
from jaxgen.core.model import Aux, Batch, ImageModel, Images, Objective, PRNGKey, Variables, rows
from jaxgen.maths.rewriting import unrounded
from jaxgen.nn.convolutional import ConvEncoder

LEAST_MSE = 1e-10
"""Of an image whose PSNR is told: 100 dB, so that the mean over images stays a number."""

DRAWS = 1024
"""Of the prior, from which the size of its numbers is found."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inverter(Scored, Latent, Encoder, Reconstructor):
    """An encoder of `features` halving convolutions for the codes of `generator`, a model of images of this shape and
    these levels. `images` weighs the error of images given back beside that of codes.

    Parameters are "encoder"; the collection "frozen" holds the generator's, which `grafts` says how to take of its run.

    >>> from jaxgen.models.gan.dcgan import DCGAN
    >>> model = Inverter(shape=(28, 28, 1), levels=256, generator=DCGAN(shape=(28, 28, 1), levels=256))
    >>> model.grafts()
    (('batch_stats', 'frozen/batch_stats'), ('params', 'frozen/params'))
    """

    generator: ImageModel
    features: tuple[int, ...] = (32, 64)
    images: float = 1.0
    dtype: str = "float32"

    figure: ClassVar = "mse"
    by_example: ClassVar = True
    conditioned_on: ClassVar = ()
    lacks: ClassVar = {
        "Density": "it guesses codes of images, and says nothing of how likely these are",
        "Autoregressive": "it guesses codes of images, and says nothing of how likely these are",
        "Completer": "it has no encoder of partial images",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, features=1)
        require(self.generator, Latent, "be inverted")
        name = type(self.generator).__name__
        if self.generator.condition is not None:
            raise UsageError(
                f"Inverter: its {name} is conditional, and must draw of codes alone: take one that is not."
            )
        if (tuple(self.generator.shape), self.generator.levels) != (tuple(self.shape), self.levels):
            raise UsageError(
                f"Inverter: its {name} draws images {tuple(self.generator.shape)} of {self.generator.levels} levels, "
                f"and these are {tuple(self.shape)} of {self.levels}: give both the same shape and levels."
            )
        if not self.features:
            raise UsageError("Inverter: features must name the maps of one convolution or more, as (32, 64), got ().")
        if not 0 <= self.images < math.inf:
            raise UsageError(f"Inverter: images must be a number of at least 0, got {self.images}.")

    @property
    def spherical(self) -> bool:  # type: ignore[override]
        """As the generator's."""
        return bool(cast(Any, self.generator).spherical)

    @property
    def encoder(self) -> ConvEncoder:
        return ConvEncoder(self.features, (("code", math.prod(self._code_shape())),), self.dtype)

    def _code_shape(self) -> tuple[int, ...]:
        draw: Any = jax.eval_shape(lambda: self.prior(jax.random.key(0), 1))
        return tuple(draw.shape[1:])

    def grafts(self) -> tuple[tuple[str, str], ...]:
        """What of a run of the generator goes where here, as paths: what a `Graft` takes, and where it is put."""
        batch = {"image": jax.ShapeDtypeStruct((1, *self.shape), jnp.uint8)}
        variables = jax.eval_shape(lambda batch: self.generator.init(jax.random.key(0), batch), batch)
        return tuple((name, f"frozen/{name}") for name, part in variables.items() if jax.tree.leaves(part))

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables, of the generator too."""
        encoder_key, generator_key = jax.random.split(key)
        params = self.encoder.init(encoder_key, jnp.zeros((1, *self.shape)))["params"]
        return {"params": {"encoder": params}, "frozen": self.generator.init(generator_key, batch)}

    def objectives(self) -> tuple[Objective, ...]:
        """One: the errors of codes and of images, averaged over the batch."""
        return (Objective("inversion", self._loss, trains=("encoder",), examples="separable"),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        z = jax.vmap(lambda key: self.prior(key, 1)[0])(example_keys(key, rows(batch)))
        drawn = jax.lax.stop_gradient(self.decode(variables, z))
        code = self._code(variables, to_float(drawn, self.levels))
        codes = (((code - z.reshape(len(z), -1)) / self._spread()) ** 2).mean()
        mse = self._mse(variables, batch["image"]).mean()
        return codes + self.images * 4.0 * mse, Aux({"code_error": codes, "mse": mse})

    def _spread(self) -> float:
        """The standard deviation of the prior's numbers, found once: a number of the program, not of a step."""
        with jax.ensure_compile_time_eval():
            return float(np.asarray(self.prior(jax.random.key(0), DRAWS)).std())

    def _code(self, variables: Variables, x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
        (code,) = cast(Any, self.encoder.apply({"params": variables["params"]["encoder"]}, x))
        return cast(Array, code)

    def _mse(self, variables: Variables, image: Images) -> Float[Array, " b"]:
        """Of each image given back before it is rounded, per sub-pixel in units of the full range."""
        x = to_float(image, self.levels)
        code = self._code(variables, x).reshape(len(x), *self._code_shape())
        back = unrounded(lambda z: self.decode(variables, z))(code) / (self.levels - 1)
        return ((back - x) ** 2).mean(axis=(1, 2, 3))

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "mse" of each image given back, per sub-pixel in units of the full range, and "psnr" in dB, at most 100."""
        mse = self._mse(variables, batch["image"])
        return {"mse": mse, "psnr": -10.0 * jnp.log10(jnp.maximum(mse, LEAST_MSE))}

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num ..."]:
        """The generator's."""
        return cast(Any, self.generator).prior(key, num)

    def decode(self, variables: Variables, z: Float[Array, "b ..."], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The generator's images of codes."""
        self.check_condition(condition, len(z))
        return cast(Any, self.generator).decode(variables["frozen"], z)

    def encode(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b d"]:
        """The code that is guessed of each image."""
        self.check_condition(condition, len(image))
        return self._code(variables, to_float(image, self.levels))

    def reconstruct(self, variables: Variables, image: Images, condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The generator's image of each image's code."""
        code = self.encode(variables, image, condition)
        return self.decode(variables, code.reshape(len(code), *self._code_shape()))
