"""What the pixel models share: likelihood, training objective, cached sampling and completion.

p(x) = Π p(x_i | x_<i) over sub-pixels in raster order, R then G then B inside a pixel (1601.06759, eq. 1–2).
Two levels have a Bernoulli head (one logit), more a softmax over the levels.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt8

from jaxgen.core import Autoregressive, Aux, Batch, Completer, Objective, Sampler, UsageError, Variables
from jaxgen.distributions import categorical_log_prob
from jaxgen.images import bits_per_dim, to_float
from jaxgen.nn.cached import draw_image
from jaxgen.nn.pixel import PixelNet


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelModel(Autoregressive, Sampler, Completer):
    """A network of `layers` layers with `features` hidden features, and `head` features in the last two maps.

    `dropout` acts on each layer's hidden features in training; `marks` also feeds an ink/no-ink and a ones
    channel; `dtype` is that of the arithmetic ("float32", "bfloat16", "float64"); parameters and likelihoods are
    float32.
    """

    layers: int
    features: int
    head: int = 32
    dropout: float = 0.0
    marks: bool = False
    dtype: str = "float32"

    lacks: ClassVar = {
        "Encoder": "a pixel model has no latent vector",
        "Reconstructor": "a pixel model has no latent vector",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        c = self.shape[2]
        if self.layers < 1:
            raise UsageError(f"layers must be at least 1, got {self.layers}")
        if self.features < c or self.head < c:
            raise UsageError(
                f"features and head are split in {c} colour groups and must be at least {c}, "
                f"got {self.features} and {self.head}"
            )
        if self.dtype not in ("float32", "bfloat16", "float64"):
            raise UsageError(f'dtype must be "float32", "bfloat16" or "float64", got {self.dtype!r}')

    @property
    @abc.abstractmethod
    def net(self) -> PixelNet:
        """The network whose outputs become the logits."""

    def _net(self, layer: Any, mend: bool = False) -> PixelNet:
        outputs = 1 if self.levels == 2 else self.levels
        return PixelNet(
            layer,
            self.layers,
            self.features,
            self.head,
            self.shape[2],
            outputs,
            self.dropout,
            self.marks,
            mend,
            self.dtype,
        )

    def init(self, key: Key[Array, ""], batch: Batch) -> Variables:
        """Fresh parameters; of the batch only the channels matter."""
        return dict(self.net.init(key, jnp.zeros((1, 4, 4, self.shape[2]))))

    def objectives(self) -> tuple[Objective, ...]:
        """One: the negative log-likelihood, in nats per sub-pixel."""

        def loss(variables: Variables, batch: Batch, key: Key[Array, ""]) -> tuple[Array, Aux]:
            image = batch["image"]
            logits = self._as_logits(self._outputs(variables, to_float(image, self.levels), train=True, key=key))
            nats = -categorical_log_prob(logits, image).sum(axis=(1, 2, 3)).mean()
            bits = bits_per_dim(nats, self.shape)
            return nats / np.prod(self.shape), Aux({"nats": nats, "bits_per_dim": bits})

        trains = ("embed", "head", "layers", "logits") + (("embed_right",) if self.net.mend else ())
        return (Objective("likelihood", loss, trains, separable=self.dropout == 0, piece=self.piece),)

    def _outputs(self, variables: Variables, x: Array, train: bool = False, key: Any = None) -> Array:
        rngs = {"dropout": key} if train and self.dropout else {}
        return cast(Array, self.net.apply(variables, x, train=train, rngs=rngs))

    def _as_logits(self, outputs: Array) -> Array:
        return jnp.concatenate([jnp.zeros_like(outputs), outputs], axis=-1) if self.levels == 2 else outputs

    def logits(
        self, variables: Variables, x: Float[Array, "b h w c"], condition: Any = None
    ) -> Float[Array, "b h w c levels"]:
        """Logits of every sub-pixel given those before it; x is the image as floats, 0 to 1."""
        self._unconditional(condition)
        return self._as_logits(self._outputs(variables, x))

    def sample(
        self, variables: Variables, key: Key[Array, ""], num: int, condition: Any = None
    ) -> UInt8[Array, "num h w c"]:
        """`num` images, at about the cost of one forward pass each."""
        h, w, c = self.shape
        return self.complete(variables, key, jnp.zeros((num, h, w, c), jnp.uint8), jnp.zeros((h, w), bool), condition)

    def complete(
        self,
        variables: Variables,
        key: Key[Array, ""],
        image: UInt8[Array | np.ndarray, "b h w c"],
        given: Bool[Array | np.ndarray, "h w"],
        condition: Any = None,
    ) -> UInt8[Array, "b h w c"]:
        """Images equal to `image` where `given`, drawn in raster order elsewhere.

        A draw from the model's conditional distribution where the given pixels come first in raster order;
        elsewhere an approximation, since a pixel is drawn without regard to given pixels after it.
        """
        self._unconditional(condition)
        draw = self._draw(key, jnp.asarray(given))
        return draw_image(self.net, variables["params"], jnp.asarray(image), self.levels, draw)

    def complete_by_full_passes(
        self,
        variables: Variables,
        key: Key[Array, ""],
        image: UInt8[Array | np.ndarray, "b h w c"],
        given: Bool[Array | np.ndarray, "h w"],
    ) -> UInt8[Array, "b h w c"]:
        """`complete` as it is defined: a full pass of the network for each sub-pixel, with the same draws.

        Hundreds of times slower; what `complete` is held against.
        """
        h, w, c = self.shape
        draw = self._draw(key, jnp.asarray(given))

        def step(image: Array, i: Array) -> tuple[Array, None]:
            at = (0, i // (w * c), i // c % w, i % c)
            outputs = self._outputs(variables, to_float(image, self.levels))
            here = jax.lax.dynamic_slice(outputs, (*at, 0), (len(image), 1, 1, 1, outputs.shape[-1]))
            old = jax.lax.dynamic_slice(image, at, (len(image), 1, 1, 1))
            new = draw(here[:, 0, 0, 0], i, old[:, 0, 0, 0])
            return jax.lax.dynamic_update_slice(image, new[:, None, None, None], at), None

        start = jnp.asarray(image)
        return jax.lax.scan(step, start, jnp.arange(h * w * c))[0]

    def _draw(self, key: Array, given: Array) -> Any:
        """Sub-pixel i from its outputs: what is given, or a draw with a key of its own."""
        w, c = self.shape[1:]

        def draw(outputs: Array, i: Array, old: Array) -> Array:
            value = jax.random.categorical(jax.random.fold_in(key, i), self._as_logits(outputs)).astype(jnp.uint8)
            return jnp.where(given[i // (w * c), i // c % w], old, value)

        return draw

    def _unconditional(self, condition: Any) -> None:
        if condition is not None:
            raise UsageError(f"{type(self).__name__} is unconditional: it takes no condition")


def raster_context(shape: tuple[int, int, int]) -> np.ndarray:
    """`bool[h,w,c,h,w,c]`: each sub-pixel (first three axes) sees all before it in raster order (last three)."""
    n = int(np.prod(shape))
    return np.tril(np.ones((n, n), bool), -1).reshape(*shape, *shape)
