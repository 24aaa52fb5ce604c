"""What the pixel models share: likelihood, training objective, conditions, orders, cached sampling and completion.

p(x) = Π p(x_i | x_<i) over sub-pixels in an order of pixels, R then G then B inside a pixel (1601.06759, eq. 1–2).
A net is written for raster order; a model of another order turns the image before and the outputs after it.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from jaxgen.core import conditions
from jaxgen.core.capabilities import Completer, Incremental, Sampler, Walk
from jaxgen.core.checks import check_temperature
from jaxgen.core.dtypes import accumulator
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim, to_float
from jaxgen.core.model import Aux, Batch, Images, Mask, Objective, PRNGKey, Variables
from jaxgen.core.orders import check_order, from_raster, is_prefix, order_rank, to_raster
from jaxgen.maths.distributions import Head
from jaxgen.models.pixel.walker import Draw, Walker, draw_image


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelModel(Incremental, Sampler, Completer):
    """An autoregressive model of pixels, given its net, the head that its outputs feed, and its walker.

    `condition` is what it is conditioned on (`jaxgen.core.conditions`), `order` the order of its pixels
    (`jaxgen.core.orders`), `dropout` acts in training only; `dtype` is that of the arithmetic ("float32", "bfloat16",
    "float64"); parameters and likelihoods are float32. With `remat` training keeps of a layer only its input, and
    computes the rest again in the backward pass: less memory, more arithmetic, the same gradient.
    """

    order: str = "right-down"
    dropout: float = 0.0
    dtype: str = "float32"
    remat: bool = False

    lacks: ClassVar = {
        "Latent": "a pixel model has no latent vector",
        "Encoder": "a pixel model has no latent vector",
        "Reconstructor": "a pixel model has no latent vector",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order(self.order)
        name = type(self).__name__
        if not 0 <= self.dropout < 1:
            raise UsageError(f"{name}: dropout must be at least 0 and below 1, got {self.dropout}.")
        if self.dtype not in ("float32", "bfloat16", "float64"):
            raise UsageError(f'{name}: dtype must be "float32", "bfloat16" or "float64", got {self.dtype!r}.')

    @property
    @abc.abstractmethod
    def net(self) -> nn.Module:
        """`net(x, condition, train) -> outputs [b,h,w,…]` in raster order, x being 0 … 1, `condition` features."""

    @property
    @abc.abstractmethod
    def head(self) -> Head:
        """What the outputs for a pixel mean."""

    @abc.abstractmethod
    def walker(self, variables: Variables, width: int, num: int, condition: Array | None) -> Walker:
        """The net pixel by pixel, for `num` images of `width` columns; `condition` as the net takes it."""

    def walks(self) -> tuple[Walk, ...]:
        """One, over all pixels."""
        return (Walk(self.order, self.head, self.walk),)

    def walk(self, variables: Variables, num: int, condition: Any = None) -> Walker:
        """The walker over `num` images of the model's shape, turned to raster order."""
        width = to_raster(np.empty((1, *self.shape[:2])), self.order).shape[2]
        return self.walker(variables, width, num, self._features(condition, num))

    @abc.abstractmethod
    def net_context(self, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """The context of the net, which works in raster order, in images of this shape."""

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh parameters; of the batch only the channels matter."""
        return dict(self.net.init(key, jnp.zeros((1, 4, 4, self.shape[2])), self._blank_features(1)))

    def objectives(self) -> tuple[Objective, ...]:
        """One: the negative log-likelihood, in nats per sub-pixel."""

        def loss(variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
            image, condition = batch["image"], self.trained_on(batch)
            for_net, for_labels = jax.random.split(key)
            condition = conditions.drop(self.condition, condition, for_labels)
            nats = -self.pixel_log_prob(variables, image, condition, for_net).sum(axis=(1, 2)).mean()
            bits = bits_per_dim(nats, self.shape)
            return nats / np.prod(self.shape), Aux({"nats": nats, "bits_per_dim": bits})

        return (Objective("likelihood", loss, _subtrees(self), examples="separable", microbatch=self.piece),)

    def _blank_features(self, num: int) -> Array | None:
        """Zeros in the place of conditions, the same for all pixels."""
        return None if self.condition is None else jnp.zeros((num, 1, 1, self.condition.features))

    def _features(self, condition: Any, num: int) -> Array | None:
        self.check_condition(condition, num)
        features = conditions.features(self.condition, condition, num)
        return None if features is None else cast(Array, to_raster(features, self.order))

    def _outputs(self, variables: Variables, x: Array, features: Array | None, key: PRNGKey | None = None) -> Array:
        """What the net gives to each pixel; with a key, as in training."""
        rngs = {} if key is None or not self.dropout else {"dropout": key}
        outputs = self.net.apply(variables, to_raster(x, self.order), features, train=key is not None, rngs=rngs)
        return cast(Array, from_raster(cast(Array, outputs), self.order))

    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """Nats of each image. Draws nothing."""
        return self.pixel_log_prob(variables, image, condition).sum(axis=(1, 2))

    def pixel_log_prob(
        self, variables: Variables, image: Images, condition: Any = None, key: PRNGKey | None = None
    ) -> Float[Array, "b h w"]:
        """Nats of each pixel given those before it. With a key, as in training: dropout draws with it."""
        image = jnp.asarray(image)
        features = self._features(condition, len(image))
        outputs = self._outputs(variables, to_float(image, self.levels), features, key)
        return self.head.log_prob(outputs, image)

    def logits(
        self, variables: Variables, x: Float[Array, "b h w c"], condition: Any = None
    ) -> Float[Array, "b h w c levels"]:
        """Log-probabilities of every value of each sub-pixel given those before it; x is the image, 0 to 1."""
        return self.head.log_pmf(self._outputs(variables, x, self._features(condition, len(x))), x)

    def context(self) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """What each sub-pixel sees, in the model's own order."""
        h, w, c = self.shape
        turned = to_raster(np.arange(h * w).reshape(1, h, w), self.order)[0]
        place = np.empty(h * w, int)
        place[turned.reshape(-1)] = np.arange(h * w)
        seen = self.net_context((*turned.shape, c)).reshape(h * w, c, h * w, c)
        return seen[place][:, :, place].reshape(h, w, c, h, w, c)

    def drawing_rank(self) -> Int[np.ndarray, "h w"]:
        """When each pixel is drawn, in the model's order."""
        return order_rank(self.shape, self.order)

    def sample(
        self, variables: Variables, key: PRNGKey, num: int, condition: Any = None, temperature: float = 1.0
    ) -> UInt8[Array, "num h w c"]:
        """`num` images, at about the cost of one forward pass each.

        `temperature` divides the log-probabilities of each draw; 1 samples the model. Labels in turn by default.
        """
        h, w, c = self.shape
        if condition is None:
            condition = self.example_condition(num)
        blank, given = jnp.zeros((num, h, w, c), jnp.uint8), jnp.zeros((h, w), bool)
        return self.complete(variables, key, blank, given, condition, temperature)

    def complete(
        self,
        variables: Variables,
        key: PRNGKey,
        image: Images,
        given: Mask,
        condition: Any = None,
        temperature: float = 1.0,
    ) -> UInt8[Array, "b h w c"]:
        """Images equal to `image` where `given`, drawn in the model's order elsewhere.

        A draw from the model's conditional distribution where the given pixels come first in that order; elsewhere
        an approximation, since a pixel is drawn without regard to given pixels after it.
        """
        features = self._features(condition, len(image))
        start, draw, noise = self._start(key, image, given, temperature)
        walker = self.walker(variables, start.shape[2], len(start), features)
        return cast(Array, from_raster(draw_image(walker, start, draw, noise), self.order))

    def completes_exactly(self, given: Bool[np.ndarray, "h w"]) -> bool:
        """Whether the given pixels come first in the model's order."""
        return is_prefix(given, self.order)

    def _start(self, key: PRNGKey, image: Images, given: Mask, temperature: float) -> tuple[Array, Draw, Any]:
        """The image turned to raster order; what draws a sub-pixel, or leaves what is given; and the noise for it.

        The largest of log-probabilities with Gumbel noise is a draw. Each sub-pixel's noise has a key of its own.
        """
        if isinstance(temperature, float | int):
            check_temperature(temperature)
        start = to_raster(jnp.asarray(image), self.order)
        known = to_raster(jnp.asarray(given)[None], self.order)[0].reshape(-1)
        c, shape, dtype = self.shape[2], (len(start), self.levels), accumulator(jnp.dtype(self.dtype))

        def draw(i: Array, channel: int, outputs: Array, value: Array, old: Array, noise: Array) -> Array:
            scores = self.head.scores_at(outputs, to_float(value, self.levels), channel)
            new = jnp.argmax(scores / temperature + noise, axis=-1).astype(jnp.uint8)
            return jnp.where(known[i // c], old, new)

        return start, draw, lambda i: jax.random.gumbel(jax.random.fold_in(key, i), shape, dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StandardisedModel(PixelModel):
    """A pixel model over a net of `nn.weight_norm`, which is initialised on data."""

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh parameters under which every map's outputs are standardised on this batch.

        A batch without images stands for noise. A condition counts as zero.
        """
        for_image, for_net = jax.random.split(key)
        x = jax.random.uniform(for_image, (4, *self.shape))
        if "image" in batch:
            x = to_float(batch["image"], self.levels)
        return dict(self.net.init(for_net, to_raster(x, self.order), self._blank_features(len(x))))


@functools.lru_cache(maxsize=256)
def _subtrees(model: PixelModel) -> tuple[str, ...]:
    """The subtrees of its parameters. Traced once for each model, since objectives are asked for again and again."""
    like = {"image": jax.ShapeDtypeStruct((2, *model.shape), jnp.uint8)}
    return tuple(jax.eval_shape(model.init, jax.random.key(0), like)["params"])


def raster_context(shape: tuple[int, ...]) -> np.ndarray:
    """`bool[h,w,c,h,w,c]`: each sub-pixel (first three axes) sees all before it in raster order (last three)."""
    n = int(np.prod(shape))
    return np.tril(np.ones((n, n), bool), -1).reshape(*shape, *shape)
