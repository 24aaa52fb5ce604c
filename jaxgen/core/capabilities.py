"""What a model can do: each capability a class, written in the model's class line, and all that is asked of a model.

Everything above this room asks only for these, never for a family.
"""

from __future__ import annotations

import abc
import dataclasses
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from jaxgen.core import conditions
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim
from jaxgen.core.model import Batch, ImageModel, Images, Mask, Model, PRNGKey, Variables, rows
from jaxgen.core.ways import WAYS


class Scored(Model):
    """Has figures of each example of held-out data."""

    figure: ClassVar[str] = "loss"
    """The figure that decides what is best, unless a recipe chooses another."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    """Which way it is better."""

    ratios: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Further figures of a split, by name: the mean of one score by the mean of another, nats by words, say."""

    by_example: ClassVar[bool] = False
    """Promises that the scores of an example depend on it alone and draw nothing: devices may share a batch."""

    piece: ClassVar[int | None] = None
    """How many examples at a time a CPU's cache is best used with, where `by_example`; None: the whole batch."""

    @abc.abstractmethod
    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """Figures by name of each example of a batch; a split's are their means."""


class Density(Scored, ImageModel):
    """Assigns each discrete image a log-probability, exact or a lower bound."""

    figure: ClassVar[str] = "bits_per_dim"

    exact: ClassVar[bool] = True
    """True where `log_prob` is the log-probability itself, False where it is a lower bound (in expectation)."""

    @abc.abstractmethod
    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """Nats of each image. `key` is used by bounds that draw; exact likelihoods ignore it."""

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "nats" of each image, −log p, and "bits_per_dim"."""
        nats = -self.log_prob(variables, batch["image"], key, self.condition_of(batch))
        return {"nats": nats, "bits_per_dim": bits_per_dim(nats, self.shape)}


class Autoregressive(Density):
    """A density that factorises over sub-pixels in raster order, R then G then B inside a pixel."""

    @abc.abstractmethod
    def logits(
        self, variables: Variables, x: Float[Array, "b h w c"], condition: Any = None
    ) -> Float[Array, "b h w c levels"]:
        """Logits of every sub-pixel given those before it. `x` is the image as floats, 0 to 1 (`images.to_float`)."""

    @abc.abstractmethod
    def context(self) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """What each sub-pixel's logits (first three axes) can see (last three): the declared context, as numpy."""

    def drawing_rank(self) -> Int[np.ndarray, "h w"]:
        """When each pixel is drawn, 0 for the first: in raster order unless a model says otherwise."""
        return np.arange(math.prod(self.shape[:2])).reshape(self.shape[:2])

    def log_pmf(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b h w c levels"]:
        """Log-probabilities (nats) of each value of every sub-pixel given those before it."""
        x = jnp.asarray(image, jnp.float32) / (self.levels - 1)
        return jax.nn.log_softmax(self.logits(variables, x, condition).astype(jnp.float32))

    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """Nats of each image: the sum of the log-probabilities of its sub-pixels. Draws nothing."""
        log_pmf = self.log_pmf(variables, image, condition)
        chosen = jnp.take_along_axis(log_pmf, jnp.asarray(image, jnp.int32)[..., None], axis=-1)
        return chosen.sum(axis=(1, 2, 3, 4))


@dataclasses.dataclass(frozen=True)
class Walk:
    """A way over every `stride`-th row and column of an image, from the first, pixel by pixel in an order.

    `likelihood` is the `maths.distributions.Head` that says what the outputs for a pixel mean; `walker(variables, num,
    condition)` the `models.pixel.walker.Walker` over so many images, turned so that raster order reads them in `order`.
    The condition is what the caller has, or `condition(variables, image)` where that is not None, which reads of the
    images only what walks before this one went over.
    """

    order: str
    head: Any
    walker: Callable[[Variables, int, Any], Any]
    condition: Callable[[Variables, Array], Any] | None = None
    stride: int = 1


class Incremental(Autoregressive):
    """An autoregressive model that can be walked over pixel by pixel, with memory: what the codec stands on."""

    @abc.abstractmethod
    def walks(self) -> tuple[Walk, ...]:
        """One after the other, they go over all pixels. A pixel counts in the first that goes over it, and is known in
        the others."""


class ImportanceWeighted(Density):
    """A bound that tightens with the number of its draws (1509.00519)."""

    exact: ClassVar[bool] = False

    @abc.abstractmethod
    def iwae_bound(
        self, variables: Variables, image: Images, key: PRNGKey, k: int, condition: Any = None
    ) -> Float[Array, " b"]:
        """L_k of each image: log 1/k Σ p(x, z_i) / q(z_i | x), in memory that does not grow with k."""


class Sampler(ImageModel):
    """Draws images."""

    @abc.abstractmethod
    def sample(self, variables: Variables, key: PRNGKey, num: int, condition: Any = None) -> UInt8[Array, "num h w c"]:
        """`num` independent images; the same key gives the same images."""


class Decoder(ImageModel):
    """Makes images of codes: those that it encodes images as, or draws from a prior (`Latent`)."""

    spherical: ClassVar[bool] = False
    """Whether codes are best joined along a sphere, as draws of a Gaussian in many dimensions are, or straight."""

    @abc.abstractmethod
    def decode(self, variables: Variables, z: Float[Array, "b ..."], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The image of each code, without draws."""

    def between(self, a: Array, b: Array, t: Any) -> Array:
        """The code at t, 0 to 1, on the way from a to b: straight, or along a great circle where `spherical`."""
        return WAYS["spherical" if self.spherical else "straight"](a, b, t)


class Latent(Decoder, Sampler):
    """Draws images from a latent code of which the prior is known."""

    @abc.abstractmethod
    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num ..."]:
        """Codes of `num` images."""

    def sample(self, variables: Variables, key: PRNGKey, num: int, condition: Any = None) -> UInt8[Array, "num h w c"]:
        """The images of `num` codes of the prior; conditions in turn by default."""
        condition = self.example_condition(num) if condition is None else condition
        return self.decode(variables, self.prior(key, num), condition)


class Energy(ImageModel):
    """Gives each image an energy: the lower, the more it is like those of training."""

    @abc.abstractmethod
    def energy(self, variables: Variables, image: Images) -> Float[Array, " b"]:
        """E(x) of each image: −log p(x), in nats up to an unknown constant, so far as training has succeeded."""


class Adversarial(ImageModel):
    """Is trained against a critic, a net that scores images."""

    @abc.abstractmethod
    def critic_scores(
        self, variables: Variables, x: Float[Array, "b h w c"], condition: Any = None
    ) -> Float[Array, "b outputs"]:
        """The critic's scores of images as floats, 0 to 1 (`images.to_float`), each by itself, as it is after training:
        differentiable by the images."""


class TextConditional(Latent):
    """Draws what a sentence says (`core.conditions.Text`)."""

    @abc.abstractmethod
    def text_vectors(self, variables: Variables, words: Int[Array | np.ndarray, "b n"]) -> Float[Array, "b d"]:
        """The vector of each sentence, of the numbers of its words. It stands for the sentence wherever a condition is
        asked for, and so does what lies between two of them."""


class Attributes(ImageModel):
    """Reads several attributes off an image."""

    @abc.abstractmethod
    def read(self, variables: Variables, image: Images) -> Int[Array, "b a"]:
        """The number of the likeliest value of each attribute, whether the image has it or not."""


class LatentEnergy(Latent, Energy):
    """Has an energy of codes too, by the gradient of which chains move among them (`maths.mcmc`)."""

    @abc.abstractmethod
    def code_energy(self, variables: Variables, z: Float[Array, "b ..."]) -> Float[Array, " b"]:
        """E of the image of each code, not rounded to levels, minus log p(z) of the prior, up to a constant."""


class Completer(ImageModel):
    """Fills in the missing part of an image."""

    exactly: ClassVar[str] = "drawn from the model's own distribution given those pixels"
    """What a completion is where `completes_exactly`, in words."""

    @abc.abstractmethod
    def complete(
        self, variables: Variables, key: PRNGKey, image: Images, given: Mask, condition: Any = None
    ) -> UInt8[Array, "b h w c"]:
        """Images equal to `image` where `given`, drawn from the model elsewhere."""

    def completes_exactly(self, given: Bool[np.ndarray, "h w"]) -> bool:
        """Whether such a completion is a draw from the model's own conditional distribution, or approximates it. Of a
        mixture, some components may suffice: those that can condition on what is given."""
        return False


class Encoder(ImageModel):
    """Maps an image to a vector."""

    @abc.abstractmethod
    def encode(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b d"]:
        """The representation of each image: for a VAE its posterior mean."""


class Reconstructor(ImageModel):
    """Passes an image through its representation and back."""

    @abc.abstractmethod
    def reconstruct(self, variables: Variables, image: Images, condition: Any = None) -> UInt8[Array, "b h w c"]:
        """Each image as the model gives it back from its representation, without draws."""

    def shows(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Any]:
        """Images and, side by side with them, what is given back."""
        image = jnp.asarray(batch["image"])
        back = self.reconstruct(variables, image, self.condition_of(batch))
        return {"reconstructions": jnp.concatenate([image, back], axis=2)}


class Classifier(Scored, ImageModel):
    """Says of each image to which of `classes` it belongs."""

    figure: ClassVar[str] = "error"

    classes: int
    """How many classes there are; labels are 0 to `classes` − 1."""

    @abc.abstractmethod
    def class_log_probs(self, variables: Variables, image: Images, key: PRNGKey) -> Float[Array, "b classes"]:
        """log p(y|x) of each class. `key` is used by models that draw; others ignore it."""

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "error", 100 where the likeliest class is not the label and 0 where it is, so that the mean is a percentage,
        and "nats", −log p(y|x)."""
        label = jnp.asarray(batch["label"], jnp.int32)
        log_probs = self.class_log_probs(variables, batch["image"], key)
        nats = -jnp.take_along_axis(log_probs, label[:, None], axis=1)[:, 0]
        return {"error": 100.0 * (log_probs.argmax(axis=1) != label), "nats": nats}

    def check_data(self, batch: Batch) -> None:
        """Raises `UsageError` where there is no label of one of the classes for each example."""
        super().check_data(batch)
        self._check_labels(batch)

    def check_scored(self, batch: Batch) -> None:
        """The same: an error is counted against labels."""
        super().check_scored(batch)
        self._check_labels(batch)

    def _check_labels(self, batch: Batch) -> None:
        name = type(self).__name__
        if "label" not in batch:
            raise UsageError(f"{name} learns and is scored by labels, and these data have none: give data with labels.")
        conditions.check(conditions.Classes(self.classes), batch["label"], rows(batch), name, ())


class Features(ImageModel):
    """Gives features of an image in which distances between sets of images are measured."""

    @abc.abstractmethod
    def features(self, variables: Variables, image: Images) -> Float[Array, "b d"]:
        """The features of each image: for a classifier, its last hidden layer."""


class Sentences(Model):
    """Gives sentences vectors, and tells of a vector what stands beside its sentence."""

    @abc.abstractmethod
    def encode_words(self, variables: Variables, words: Int[Array | np.ndarray, "b t"]) -> Float[Array, "b d"]:
        """The vector of each sentence, whose words are numbers, 0 behind its end."""

    @abc.abstractmethod
    def tell(
        self,
        variables: Variables,
        vector: Float[Array | np.ndarray, "b d"],
        neighbour: Literal["before", "after"],
        length: int,
    ) -> Int[Array, "b length"]:
        """The sentence before or after that of a vector, word by word the likeliest, up to its end or so many words."""


CAPABILITIES: tuple[type[Model], ...] = (
    *(Scored, Density, Autoregressive, Sampler, Latent, Completer, Encoder, Reconstructor, Classifier, Features),
    *(Energy, Sentences),
)


def capabilities(model: Model | type[Model]) -> tuple[str, ...]:
    """The names of what a model can do, in the order of `CAPABILITIES`."""
    kind = model if isinstance(model, type) else type(model)
    return tuple(c.__name__ for c in CAPABILITIES if issubclass(kind, c))


def models_with(capability: type[Model]) -> tuple[str, ...]:
    """The names of the concrete models that have a capability, sorted: those of the package, and imported ones."""
    importlib.import_module("jaxgen.models")  # by its name: this room knows no model
    names, todo = set(), [capability]
    while todo:
        kind = todo.pop()
        todo.extend(kind.__subclasses__())
        if not inspect.isabstract(kind) and not kind.__name__.startswith("_"):
            names.add(kind.__name__)
    return tuple(sorted(names))


REASONS = {
    "Scored": "it has no figure of held-out data: what it draws is judged as a set",
    "Latent": "it draws from no latent code of which the prior is known",
    "Classifier": "it does not tell classes of images apart",
    "Features": "it gives no features of images in which distances would mean something",
    "Decoder": "it makes no images of codes",
    "Sentences": "it reads no sentences to give them vectors",
    "Energy": "it is trained to give images no energy",
    "Adversarial": "it is not trained against a critic",
    "TextConditional": "it is told no sentences",
    "Attributes": "it reads no attributes off images",
    "LatentEnergy": "it has no energy of codes, whose gradient a chain follows",
}
"""Why a model lacks a capability, unless it has a reason of its own."""


def why_not(model: Model, capability: type[Any]) -> str:
    """Why a model lacks a capability, in words that stand behind "cannot …: "."""
    name = capability.__name__
    reason = model.lacks.get(name) or (model.lacks.get("Latent") if capability is Decoder else None)
    return reason or REASONS.get(name) or f"it is no {name}"


def require(model: Model, capability: type[Any], purpose: str) -> Any:
    """The model itself if it has the capability.

    Raises `UsageError` otherwise: what was asked for (`purpose`), why this model cannot, and which models can.
    """
    if isinstance(model, capability):
        return model
    name = type(model).__name__
    why = why_not(model, capability)
    others = ", ".join(models_with(capability)) or "none yet"
    raise UsageError(f"{name} cannot {purpose}: {why}. Models that can: {others}.")
