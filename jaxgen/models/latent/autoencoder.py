"""Auto-encoders: an image through a narrow code and back, plain or denoising (Vincent et al., ICML 2008; JMLR 2010).

    z = f(x̃),  y = g(z),  x̃ = x, or x with noise                                         (2010, §2.1, §3.1)
    squared     1/n Σ_i (y_i − x_i)²                        y linear in the last layer
    bernoulli   −Σ_i x_i log y_i + (1 − x_i) log(1 − y_i)   y behind a sigmoid, x the intensity 0 … 1   (2010, eq. 4)
    gaussian    x̃_i = x_i + σ ε_i,  ε ~ N(0, 1)                                           (2010, §3.5)
    masking     x̃_i = 0 with probability ν, otherwise x_i

    perceptual  w · Σ_l mean (φ_l(y) − φ_l(x))²  beside either, φ_l the layers of a net that is frozen   (1603.08155)

A denoising one sees x̃ in training and is asked for x; codes and reconstructions are of x as it is. Deviations: masking
sets each sub-pixel to 0 with probability ν by itself, where the papers set a fixed share of them, and encoder and
decoder do not share their weights. Without hidden layers and with a squared error the best reconstruction is that of
principal component analysis: the error is the sum of the variances along the axes that the code leaves out.

The dense net is a perceptron with tanh, 784–512–256–32 and back by default; the convolutional one halves the sides with
every layer. Glorot's initial weights of dense layers, zero biases.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, UInt8

from jaxgen.core.capabilities import (
    Adversarial,
    Classifier,
    Decoder,
    Encoder,
    Features,
    Reconstructor,
    Scored,
    require,
)
from jaxgen.core.checks import at_least, one_of
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.core.keys import example_keys
from jaxgen.core.model import Aux, Batch, ImageModel, Images, Objective, PRNGKey, Variables
from jaxgen.maths.perceptual import layers_of, perceptual_loss
from jaxgen.metrics.spectrum import tail_power
from jaxgen.nn.convolutional import ConvDecoder, ConvEncoder
from jaxgen.nn.perceptron import Perceptron

LEAST_MSE = 1e-10
"""Of an image whose PSNR is told: 100 dB, so that the mean over images stays a number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoEncoder(Scored, Encoder, Decoder, Reconstructor):
    """An auto-encoder with a code of `latent` numbers.

    `net` is "dense" or "conv"; `hidden` are the encoder's layers, widths of the one and feature maps of the other, and
    the decoder has them in reverse. `reconstruction` is the loss, "squared" or "bernoulli". `noise` is what a denoising
    one sees through, "gaussian" of the standard deviation `noise_level` in units of the full range, or "masking" of
    that share of sub-pixels; without noise the level is of no account. `perceptual` is a model in whose layers images
    are compared too (`maths.perceptual.layers_of`), `perceptual_weight` times beside the loss; the collection "frozen"
    holds its variables, which `grafts` says how to take of its run.

    >>> model = AutoEncoder(shape=(28, 28, 1), levels=256, noise="masking", noise_level=0.5)
    >>> variables = model.init(jax.random.key(0), {})
    >>> model.encode(variables, jnp.zeros((2, 28, 28, 1), jnp.uint8)).shape
    (2, 32)
    """

    latent: int = 32
    net: str = "dense"
    hidden: tuple[int, ...] = (512, 256)
    reconstruction: str = "squared"
    noise: str = "none"
    noise_level: float = 0.25
    perceptual: ImageModel | None = None
    perceptual_weight: float = 1.0
    dtype: str = "float32"

    figure: ClassVar = "mse"
    ratios: ClassVar = {"sharpness": ("tail", "image_tail")}
    conditioned_on: ClassVar = ()
    lacks: ClassVar = {
        "Density": "its loss is an error of reconstruction, not a probability of the image",
        "Autoregressive": "its loss is an error of reconstruction, not a probability of the image",
        "Sampler": "its codes follow no known distribution, of which one could draw: a VAE's do",
        "Latent": "its codes follow no known distribution, of which one could draw: a VAE's do",
        "Completer": "it gives back images as they are, known pixels too",
        "Classifier": "it knows no labels: `FewLabels` puts a classifier on its codes",
        "Features": "distances between its codes have no meaning: measure in a classifier's features",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, latent=1, hidden=1)
        one_of(
            self,
            net=("dense", "conv"),
            reconstruction=("squared", "bernoulli"),
            noise=("none", "gaussian", "masking"),
        )
        if self.net == "conv" and not self.hidden:
            raise UsageError(
                "AutoEncoder: hidden must name the feature maps of a convolutional net, as (32, 64), got ()."
            )
        most = {"none": math.inf, "gaussian": math.inf, "masking": 1.0}[self.noise]
        if self.noise != "none" and not 0 < self.noise_level < most:
            bound = " and below 1" if self.noise == "masking" else ", and finite"
            raise UsageError(
                f"AutoEncoder: noise_level must be above 0{bound} for {self.noise} noise, got {self.noise_level}; "
                'for none, say noise="none".'
            )

        if self.perceptual is not None:
            self._check_perceptual(self.perceptual)

    def _check_perceptual(self, net: ImageModel) -> None:
        name = type(net).__name__
        if not isinstance(net, Features | Classifier):
            require(net, Adversarial, "be the net in whose layers an AutoEncoder compares images")
        if tuple(net.shape) != tuple(self.shape):
            raise UsageError(
                f"AutoEncoder: perceptual={name} looks at images {tuple(net.shape)}, and these are "
                f"{tuple(self.shape)}: give a net of the same shape."
            )
        if not 0 < self.perceptual_weight < math.inf:
            raise UsageError(
                f"AutoEncoder: perceptual_weight must be a number above 0, got {self.perceptual_weight}: "
                "perceptual=None leaves the term out."
            )

    @property
    def encoder(self) -> Perceptron | ConvEncoder:
        net = Perceptron if self.net == "dense" else ConvEncoder
        return net(self.hidden, (("code", self.latent),), self.dtype)

    @property
    def decoder(self) -> Perceptron | ConvDecoder:
        if self.net == "dense":
            return Perceptron(self.hidden[::-1], (("image", math.prod(self.shape)),), self.dtype)
        return ConvDecoder(self.shape[:2], self.hidden, self.shape[2], self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        encoder_key, decoder_key = jax.random.split(key)
        encoder = self.encoder.init(encoder_key, self._seen(jnp.zeros((1, *self.shape))))
        decoder = self.decoder.init(decoder_key, jnp.zeros((1, self.latent)))
        params = {"params": {"encoder": encoder["params"], "decoder": decoder["params"]}}
        if self.perceptual is None:
            return params
        return {**params, "frozen": self.perceptual.init(jax.random.fold_in(key, 2), batch)}

    def grafts(self) -> tuple[tuple[str, str], ...]:
        """What of a run of the net of `perceptual` goes where here, as paths: what a `Graft` takes, and where it is
        put. None without it."""
        if self.perceptual is None:
            return ()
        batch = {"image": jax.ShapeDtypeStruct((1, *self.shape), jnp.uint8)}
        variables = jax.eval_shape(self.perceptual.init, jax.random.key(0), batch)
        return tuple((name, f"frozen/{name}") for name, part in variables.items() if jax.tree.leaves(part))

    def objectives(self) -> tuple[Objective, ...]:
        """One: the loss of reconstruction, averaged over the batch."""
        return (Objective("reconstruction", self._loss, trains=("encoder", "decoder"), examples="separable"),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        x = to_float(batch["image"], self.levels)
        outputs = self._outputs(variables, self._code(variables, self.noisy(batch["image"], key)))
        loss, back = self._losses(outputs, x).mean(), self._intensity(outputs)
        metrics = {"mse": ((back - x) ** 2).mean()}
        if self.perceptual is not None:
            metrics["perceptual"] = self._apart(variables, back, x).mean()
            loss = loss + self.perceptual_weight * metrics["perceptual"]
        return loss, Aux(metrics)

    def _apart(
        self, variables: Variables, back: Float[Array, "b h w c"], x: Float[Array, "b h w c"]
    ) -> Float[Array, " b"]:
        """How far apart images are in the layers of the net of `perceptual`."""
        return perceptual_loss(layers_of(self.perceptual, variables["frozen"]), back, x)

    def noisy(self, image: Images, key: PRNGKey) -> Float[Array, "b h w c"]:
        """What the net sees of images in training: their intensities 0 … 1, with the noise where there is any, which
        may lead out of that range. Draws belong to examples."""
        x = to_float(image, self.levels)
        if self.noise == "none":
            return x
        keys = example_keys(key, len(x))
        if self.noise == "gaussian":
            return x + self.noise_level * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)
        kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - self.noise_level, x.shape[1:]))(keys)
        return jnp.where(kept, x, 0.0)

    def _seen(self, x: Float[Array, "b h w c"]) -> Array:
        """Images as the encoder takes them."""
        return x.reshape(len(x), -1) if self.net == "dense" else x

    def _code(self, variables: Variables, x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
        (code,) = cast(Any, self.encoder.apply({"params": variables["params"]["encoder"]}, self._seen(x)))
        return cast(Array, code)

    def _outputs(self, variables: Variables, z: Float[Array, "b d"]) -> Float[Array, "b h w c"]:
        """The decoder's: intensities under a squared error, their logits under a Bernoulli likelihood."""
        outputs: Any = self.decoder.apply({"params": variables["params"]["decoder"]}, z)
        return cast(Array, outputs[0].reshape(-1, *self.shape) if self.net == "dense" else outputs)

    def _intensity(self, outputs: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return outputs if self.reconstruction == "squared" else jax.nn.sigmoid(outputs)

    def _losses(self, outputs: Float[Array, "b h w c"], x: Float[Array, "b h w c"]) -> Float[Array, " b"]:
        """The loss of each image: its mean squared error, or nats summed over sub-pixels."""
        if self.reconstruction == "squared":
            return ((outputs - x) ** 2).mean(axis=(1, 2, 3))
        return optax.sigmoid_binary_cross_entropy(outputs, x).sum(axis=(1, 2, 3))

    def intensity(self, variables: Variables, z: Float[Array, "b d"]) -> Float[Array, "b h w c"]:
        """The image of each code before it is rounded, 0 … 1 but for the errors of a linear last layer."""
        return self._intensity(self._outputs(variables, z))

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "mse" of each image given back, per sub-pixel in units of the full range, and "psnr" in dB, −10 log₁₀ mse,
        at most 100; "tail" and "image_tail", the power of quick waves (`metrics.spectrum`) in what is given back and
        in the image, whose ratio, "sharpness" of a split, is below 1 where that is blurred; of a denoising one also
        "denoising_mse", that of the image given back from a noisy one; "perceptual" where a net compares."""
        image = batch["image"]
        x = to_float(image, self.levels)

        def back_of(seen: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
            return self.intensity(variables, self._code(variables, seen))

        back = back_of(x)
        mse = ((back - x) ** 2).mean(axis=(1, 2, 3))
        scores = {"mse": mse, "psnr": -10.0 * jnp.log10(jnp.maximum(mse, LEAST_MSE))}
        scores |= {"tail": tail_power(back), "image_tail": tail_power(x)}
        if self.noise != "none":
            scores["denoising_mse"] = ((back_of(self.noisy(image, key)) - x) ** 2).mean(axis=(1, 2, 3))
        if self.perceptual is not None:
            scores["perceptual"] = self._apart(variables, back, x)
        return scores

    def encode(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b d"]:
        """The code of each image, seen without noise."""
        self.check_condition(condition, len(image))
        return self._code(variables, to_float(image, self.levels))

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The image of each code, rounded to the nearest level."""
        self.check_condition(condition, len(z))
        return from_float(self.intensity(variables, z), self.levels)

    def reconstruct(self, variables: Variables, image: Images, condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The image of each image's code, seen without noise."""
        return self.decode(variables, self.encode(variables, image, condition), condition)

    def shows(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Any]:
        """Images, of a denoising one what it sees of them, and side by side with that what it gives back."""
        if self.noise == "none":
            return super().shows(variables, batch, key)
        seen = self.noisy(batch["image"], key)
        back = self.decode(variables, self._code(variables, seen))
        noisy = from_float(seen, self.levels)
        return {"reconstructions": jnp.concatenate([jnp.asarray(batch["image"]), noisy, back], axis=2)}
