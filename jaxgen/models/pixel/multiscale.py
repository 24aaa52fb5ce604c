"""Multi-scale PixelRNN: a small image first, then the large one around its pixels (1601.06759, §3.6).

S are the pixels of every `scale`-th row and column, the small image. One model draws it; a second, conditional on it,
draws the other pixels, in an order of its own:

    log p(x) = log p_small(x_S) + Σ_{i∉S} log p_large(x_i | x_<i, x_S)

The second model reads x_S, brought to full size by `nn.upsample`, as a bias on every layer's input-to-state map, and
the large image, in which the pixels of S stand where they belong. Those are clamped: the large model neither scores
nor draws them, so that each pixel is counted once. Any pixel model serves at either scale.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from jaxgen.core import conditions
from jaxgen.core.capabilities import Completer, Incremental, Sampler, Walk
from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.model import Aux, Batch, Images, Mask, Objective, PRNGKey, Variables
from jaxgen.core.orders import order_rank
from jaxgen.models.pixel.base import PixelModel
from jaxgen.nn.upsample import Upsample


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiScale(Incremental, Sampler, Completer):
    """Two pixel models: `small` of every `scale`-th row and column, `large` of the other pixels.

    They say which models and with what settings; their own shape and levels, and the condition of `large`, are set
    here (`coarse`, `fine`). `map_features` are the features of the up-sampled map.
    """

    small: PixelModel
    large: PixelModel
    scale: int = 2
    map_features: int = 32

    conditioned_on: ClassVar = ()
    lacks: ClassVar = {
        "Latent": "a pixel model has no latent vector",
        "Encoder": "a pixel model has no latent vector",
        "Reconstructor": "a pixel model has no latent vector",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, model in (("small", self.small), ("large", self.large)):
            if not isinstance(model, PixelModel):
                raise UsageError(f"MultiScale: {name} must be a pixel model, got {type(model).__name__}")
            if model.condition is not None:
                raise UsageError(f"MultiScale is unconditional: leave the condition of {name} away")
        at_least(self, scale=2, map_features=1)
        if max(self.shape[:2]) < 2:
            raise UsageError(f"MultiScale: wanted images of more than one pixel, got shape {self.shape}")
        _ = self.coarse, self.fine  # what the two models refuse is refused now

    @property
    def coarse(self) -> PixelModel:
        """`small`, made for the small image."""
        h, w, c = self.shape
        return dataclasses.replace(self.small, shape=(-(-h // self.scale), -(-w // self.scale), c), levels=self.levels)

    @property
    def fine(self) -> PixelModel:
        """`large`, made for the whole image and conditional on the up-sampled map."""
        return dataclasses.replace(
            self.large, shape=self.shape, levels=self.levels, condition=conditions.Map(self.map_features)
        )

    @property
    def upsample(self) -> Upsample:
        """The net that makes the map."""
        return Upsample(self.map_features, self.scale, self.large.dtype)

    @property
    def _is_small(self) -> np.ndarray:
        """bool[h,w]: S."""
        small = np.zeros(self.shape[:2], bool)
        small[:: self.scale, :: self.scale] = True
        return small

    def _small_image(self, image: Any) -> Any:
        """x_S of images or floats [b,h,w,c]."""
        return image[:, :: self.scale, :: self.scale]

    def _map(self, variables: Variables, small: Array) -> Array:
        """The condition of the large model, [b,h,w,map_features], from the small image 0 … 1."""
        features: Any = self.upsample.apply(_part(variables, "upsample"), small)
        return features[:, : self.shape[0], : self.shape[1]]

    def _map_of(self, variables: Variables, image: Images) -> Array:
        """The same, from whole images [b,h,w,c]."""
        return self._map(variables, to_float(self._small_image(image), self.levels))

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh parameters; each model may look at its own part of the batch's images, if there are any."""
        for_small, for_up, for_large = jax.random.split(key, 3)
        small = {"image": self._small_image(batch["image"])} if "image" in batch else {}
        return {
            "params": {
                "small": self.coarse.init(for_small, small)["params"],
                "upsample": self.upsample.init(for_up, jnp.zeros((1, 2, 2, self.shape[2])))["params"],
                "large": self.fine.init(for_large, batch)["params"],
            }
        }

    def objectives(self) -> tuple[Objective, ...]:
        """Two, trained together: the small model's likelihood, and the large one's of the pixels that S lacks.

        Each is in nats per sub-pixel that it scores, and logs its share of the image's nats; the two shares add up to
        −log p(x). Its bits/dim are per sub-pixel that it scores.
        """
        (objective,) = self.coarse.objectives()
        rest = (math.prod(self.shape[:2]) - int(self._is_small.sum())) * self.shape[2]

        def small(variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
            return objective.loss(_part(variables, "small"), {"image": self._small_image(batch["image"])}, key)

        def large(variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
            nats = -self._large_log_prob(variables, batch["image"], key).mean()
            return nats / rest, Aux({"nats": nats, "bits_per_dim": nats / (rest * math.log(2.0))})

        return (
            dataclasses.replace(objective, name="small", loss=small, trains=("small",)),
            Objective("large", large, ("upsample", "large"), examples="separable", microbatch=self.large.piece),
        )

    def _large_log_prob(self, variables: Variables, image: Images, key: PRNGKey | None = None) -> Array:
        """Nats [b] of the pixels that S lacks, given x_S."""
        features = self._map_of(variables, image)
        log_prob = self.fine.pixel_log_prob(_part(variables, "large"), image, features, key)
        return jnp.where(self._is_small, 0.0, log_prob).sum(axis=(1, 2))

    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """Nats of each image, over both scales. Draws nothing."""
        self.check_condition(condition, len(image))
        small = self.coarse.log_prob(_part(variables, "small"), self._small_image(image), key)
        return small + self._large_log_prob(variables, image)

    def logits(
        self, variables: Variables, x: Float[Array, "b h w c"], condition: Any = None
    ) -> Float[Array, "b h w c levels"]:
        """Log-probabilities of every value of each sub-pixel, in S from the small model; x is the image, 0 to 1."""
        self.check_condition(condition, len(x))
        small = self._small_image(x)
        logits = self.fine.logits(_part(variables, "large"), x, self._map(variables, small))
        return logits.at[:, :: self.scale, :: self.scale].set(self.coarse.logits(_part(variables, "small"), small))

    def context(self) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """S sees of S what the small model sees; the other pixels see all of S, and what the large model sees."""
        every = slice(None, None, self.scale)
        seen = self.fine.context() | self._is_small[:, :, None]
        seen[every, every] = False
        seen[every, every, :, every, every] = self.coarse.context()
        return seen

    def drawing_rank(self) -> Int[np.ndarray, "h w"]:
        """When each pixel is drawn: the small image in its order, then the others in the large model's."""
        rank, small = order_rank(self.shape, self.large.order) + math.prod(self.shape[:2]), self._is_small
        rank[small] = self.coarse.drawing_rank().reshape(-1)
        return np.argsort(np.argsort(rank, axis=None)).reshape(rank.shape)

    def walks(self) -> tuple[Walk, ...]:
        """Two: over the small image, and over the large one, whose map is made of the small image."""

        def walk(model: PixelModel, name: str, **more: Any) -> Walk:
            return Walk(model.order, model.head, lambda v, *given: model.walk(_part(v, name), *given), **more)

        return walk(self.coarse, "small", stride=self.scale), walk(self.fine, "large", condition=self._map_of)

    def sample(
        self, variables: Variables, key: PRNGKey, num: int, condition: Any = None, temperature: float = 1.0
    ) -> UInt8[Array, "num h w c"]:
        """`num` images, the small one first. `temperature` divides the log-probabilities of each draw."""
        blank, given = jnp.zeros((num, *self.shape), jnp.uint8), jnp.zeros(self.shape[:2], bool)
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
        """Images equal to `image` where `given`: the small image is completed from what is given of it, then the rest.

        A draw from the model's conditional distribution where `completes_exactly` says so, else an approximation: the
        small image is drawn without regard to what is given between its pixels.
        """
        self.check_condition(condition, len(image))
        for_small, for_large = jax.random.split(key)
        image, given, every = jnp.asarray(image), jnp.asarray(given), slice(None, None, self.scale)
        parts = self._small_image(image), given[every, every]
        small = self.coarse.complete(_part(variables, "small"), for_small, *parts, None, temperature)
        image, given = image.at[:, every, every].set(small), given.at[every, every].set(True)
        features = self._map_of(variables, image)
        return self.fine.complete(_part(variables, "large"), for_large, image, given, features, temperature)

    def completes_exactly(self, given: Bool[np.ndarray, "h w"]) -> bool:
        """Whether the given pixels come first: in S, or all of S and then of the others in the large model's order."""
        given, of_small = np.asarray(given, bool), self._is_small
        if not given[~of_small].any():
            return self.coarse.completes_exactly(given[:: self.scale, :: self.scale])
        turn = np.argsort(order_rank(self.shape, self.large.order)[~of_small])
        others = given[~of_small][turn]
        return bool(given[of_small].all() and others[: others.sum()].all())


def _part(variables: Variables, name: str) -> Variables:
    return {"params": variables["params"][name]}
