"""VQ-VAE: an auto-encoder whose code is a map of entries of a codebook (1711.00937).

The encoder halves the image with each entry of `features`, and gives z_e, a vector for each place of the map; z_q is
the nearest entry of the codebook. With the straight-through gradient the loss of an image is (eq. 3)

    −log p(x|z_q) + β Σ ‖z_e − sg(z_q)‖²

while the codebook follows z_e by moving averages (appendix A.1; `nn.codebook`), which takes the place of the second
term of the paper's. p(x|z) = Π_i p(x_i|z) is a likelihood of the discrete image. Under a prior p(z), uniform here,

    log p(x) = log Σ_z p(z) p(x|z) ≥ log p(x|z_q) − (number of codes) · log K

so that the figure is a true bound; `VQPrior` learns p(z). Nets as in §4.1: 4×4 convolutions of stride 2, residual
blocks of ReLU, 3×3, ReLU, 1×1, and transposed convolutions back. Deviations: an entry that is hardly used any more is
begun again from what the encoder gives; sides that are no multiples are halved rounding up, and cut on the way back.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from jaxgen.core.capabilities import Decoder, Density, Encoder, Reconstructor
from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim, to_float
from jaxgen.core.model import Aux, Batch, Images, Objective, PRNGKey, Variables
from jaxgen.maths.distributions import Head, LogisticMixture, Softmax
from jaxgen.nn.codebook import followed, fresh_codebook, nearest, perplexity, restarted, straight_through, vectors_of
from jaxgen.nn.strided import Conv, ConvTranspose

LEAST_SHARE = 0.1
"""Of an entry, where 1 is that of all used alike, below which it is begun again."""


class Residual(nn.Module):
    """x + 1×1(ReLU(3×3(ReLU(x)))), so many times."""

    blocks: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w f"]) -> Float[Array, "b h w f"]:
        for i in range(self.blocks):
            y = Conv(x.shape[-1], (3, 3), dtype=self.dtype, name=f"wide_{i}")(nn.relu(x))
            x = x + Conv(x.shape[-1], (1, 1), dtype=self.dtype, name=f"point_{i}")(nn.relu(y))
        return x


class MapEncoder(nn.Module):
    """From an image to a vector of `latent` numbers for each place of the small map, float32."""

    features: tuple[int, ...]
    blocks: int
    latent: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        for i, n in enumerate(self.features):
            x = Conv(n, (4, 4), (2, 2), dtype=self.dtype, name=f"down_{i}")(nn.relu(x) if i else x)
        x = Residual(self.blocks, self.dtype, name="residual")(x)
        return Conv(self.latent, (1, 1), dtype=self.dtype, name="code")(nn.relu(x)).astype(jnp.float32)


class MapDecoder(nn.Module):
    """The way back, to `channels` outputs for each pixel of `sides`, float32. `features` are the encoder's."""

    sides: tuple[int, int]
    features: tuple[int, ...]
    blocks: int
    channels: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: Float[Array, "b h2 w2 d"]) -> Float[Array, "b h w channels"]:
        x = Conv(self.features[-1], (3, 3), dtype=self.dtype, name="first")(z)
        x = Residual(self.blocks, self.dtype, name="residual")(x)
        sizes = halvings(self.sides, len(self.features))
        for i, n in enumerate((*self.features[-2::-1], self.channels)):
            h, w = sizes[-2 - i]
            x = ConvTranspose(n, (4, 4), (2, 2), dtype=self.dtype, name=f"up_{i}")(nn.relu(x))[:, :h, :w]
        return x.astype(jnp.float32)


def halvings(sides: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """Height and width, and those of the maps after each of `count` halvings, rounding up.

    >>> halvings((28, 20), 3)
    [(28, 20), (14, 10), (7, 5), (4, 3)]
    """
    sizes = [sides]
    for _ in range(count):
        h, w = sizes[-1]
        sizes.append((-(-h // 2), -(-w // 2)))
    return sizes


@dataclasses.dataclass(frozen=True, kw_only=True)
class VQVAE(Density, Encoder, Decoder, Reconstructor):
    """A VQ-VAE whose codebook has `entries` entries of `latent` numbers each.

    `features` are the widths of the halving convolutions, `blocks` the residual blocks on each side, `components` the
    logistics of the discretised mixture for every pixel, 0 for a Bernoulli of two levels and a softmax of more.
    `commitment` is β, `decay` γ of the codebook.

    >>> VQVAE(shape=(28, 28, 1), levels=256, entries=128).code_shape
    (7, 7)
    """

    entries: int = 256
    latent: int = 16
    features: tuple[int, ...] = (64, 64)
    blocks: int = 2
    components: int = 0
    commitment: float = 0.25
    decay: float = 0.99
    dtype: str = "float32"

    exact: ClassVar = False
    by_example: ClassVar = True
    conditioned_on: ClassVar = ()
    averaged: ClassVar = ("params", "codebook")
    lacks: ClassVar = {
        "Autoregressive": "its pixels are independent given the codes, which are summed over",
        "Sampler": "its codes have no prior yet: train a VQPrior on them",
        "Latent": "its codes have no prior yet: train a VQPrior on them",
        "Completer": "it has no encoder of partial images",
        "Classifier": "it knows no classes",
        "Features": "its codes are made to give images back, not to tell sets of them apart",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, entries=2, why="a single code says nothing of an image")
        at_least(self, latent=1, features=1, blocks=0, components=0)
        if not self.features:
            raise UsageError("VQVAE: features must name at least one convolution, (64, 64) say, got ().")
        if self.commitment < 0:
            raise UsageError(f"VQVAE: commitment must be at least 0, got {self.commitment:g}: 0.25 is the paper's.")
        if not 0 <= self.decay < 1:
            raise UsageError(f"VQVAE: decay must be at least 0 and below 1, got {self.decay:g}: 0.99 is the paper's.")

    @property
    def code_shape(self) -> tuple[int, int]:
        """Height and width of the map of codes."""
        return halvings(self.shape[:2], len(self.features))[-1]

    @property
    def uniform_nats(self) -> float:
        """−log p(z) of a map of codes where all are alike."""
        return math.prod(self.code_shape) * math.log(self.entries)

    @property
    def head(self) -> Head:
        """What the decoder's outputs for a pixel mean."""
        channels = self.shape[2]
        if self.components:
            return LogisticMixture(self.levels, channels, self.components)
        return Softmax(self.levels, channels)

    @property
    def encoder(self) -> MapEncoder:
        return MapEncoder(self.features, self.blocks, self.latent, self.dtype)

    @property
    def decoder(self) -> MapDecoder:
        outputs = math.prod(self.head.shape)
        return MapDecoder(self.shape[:2], self.features, self.blocks, outputs, self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        encoder_key, decoder_key, codebook_key = jax.random.split(key, 3)
        encoder = self.encoder.init(encoder_key, jnp.zeros((1, *self.shape)))
        decoder = self.decoder.init(decoder_key, jnp.zeros((1, *self.code_shape, self.latent)))
        return {
            "params": {"encoder": encoder["params"], "decoder": decoder["params"]},
            "codebook": fresh_codebook(codebook_key, self.entries, self.latent),
        }

    def objectives(self) -> tuple[Objective, ...]:
        """One: the loss above, averaged over the batch, with the codebook's move beside it."""
        return (Objective("reconstruction", self._loss, trains=("encoder", "decoder")),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        codebook = variables["codebook"]
        z, vectors = self._encoded(variables, batch["image"]), vectors_of(codebook)
        codes = nearest(z, vectors)
        quantised = vectors[codes]
        outputs = self._outputs(variables, straight_through(z, quantised))
        reconstruction = -self._log_likelihood(outputs, batch["image"]).mean()
        commitment = jnp.square(z - jax.lax.stop_gradient(quantised)).sum(axis=(1, 2, 3)).mean()
        rows, drawn = jax.lax.stop_gradient(z).reshape(-1, self.latent), jax.random.split(key)[0]
        moved = restarted(followed(codebook, rows, codes.reshape(-1), self.decay), rows, drawn, LEAST_SHARE)
        nats = reconstruction + self.uniform_nats
        metrics = {"nats": nats, "bits_per_dim": bits_per_dim(nats, self.shape), "commitment": commitment}
        metrics |= {"reconstruction_nats": reconstruction}
        shown = {"perplexity": perplexity(codes, self.entries)}
        return reconstruction + self.commitment * commitment, Aux(metrics, {"codebook": moved}, shown)

    def _encoded(self, variables: Variables, image: Images) -> Float[Array, "b h2 w2 d"]:
        """z_e."""
        x = 2.0 * to_float(image, self.levels) - 1.0
        return cast(Array, self.encoder.apply({"params": variables["params"]["encoder"]}, x))

    def _outputs(self, variables: Variables, z: Float[Array, "b h2 w2 d"]) -> Array:
        """What `likelihood` makes p(x|z) of, [b,h,w,…]."""
        outputs = cast(Array, self.decoder.apply({"params": variables["params"]["decoder"]}, z))
        return outputs.reshape(*outputs.shape[:3], *self.head.shape)

    def _log_likelihood(self, outputs: Array, image: Images) -> Float[Array, " b"]:
        return self.head.log_prob(outputs, jnp.asarray(image)).sum(axis=(1, 2))

    def codes(self, variables: Variables, image: Images) -> Int[Array, "b h2 w2"]:
        """The map of codes of each image: the numbers of the entries nearest to what the encoder gives."""
        return nearest(self._encoded(variables, image), vectors_of(variables["codebook"]))

    def log_likelihood(self, variables: Variables, image: Images, codes: Int[Array, "b h2 w2"]) -> Float[Array, " b"]:
        """log p(x|z) in nats, z being the entries of these codes."""
        return self._log_likelihood(self._outputs(variables, vectors_of(variables["codebook"])[codes]), image)

    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """log p(x|z_q) − (number of codes) · log K, a lower bound of log p(x) under uniform codes. Draws nothing."""
        self.check_condition(condition, len(image))
        return self.log_likelihood(variables, image, self.codes(variables, image)) - self.uniform_nats

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The image of vectors for each place, those of entries or between them: the mean of p(x|z), rounded to the
        nearest level; a channel's is given those before it, where the likelihood joins them."""
        self.check_condition(condition, len(z))
        outputs = self._outputs(variables, z.reshape(len(z), *self.code_shape, self.latent))
        return self.head.mean(outputs).astype(jnp.uint8)

    def decode_codes(self, variables: Variables, codes: Int[Array, "b h2 w2"]) -> UInt8[Array, "b h w c"]:
        """The image of each map of codes."""
        return self.decode(variables, vectors_of(variables["codebook"])[codes].reshape(len(codes), -1))

    def encode(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b d"]:
        """The chosen entries of the codebook, place by place."""
        self.check_condition(condition, len(image))
        return vectors_of(variables["codebook"])[self.codes(variables, image)].reshape(len(image), -1)

    def reconstruct(self, variables: Variables, image: Images, condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The image of each image's codes."""
        self.check_condition(condition, len(image))
        return self.decode_codes(variables, self.codes(variables, image))
