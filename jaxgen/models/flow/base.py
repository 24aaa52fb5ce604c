"""What the flows share: an invertible map of images to codes, its likelihood, and the dequantisation before it.

    log p(x) = log p(z) + log |det ∂z/∂x|,  z = f(x)                                      (1410.8516, eq. 2)

of a continuous image x = (v + u)/levels, whose values v are discrete and whose noise u is in [0, 1)
(`nn.bijectors.dequantise`). The likelihood of the discrete image is bounded from below, in expectation over u:

    log P(v) ≥ E [log p(x) − log q(u|v)] − D log levels

More draws of u tighten it as they do in 1509.00519. A learned prior, of classes or of what leaves at a scale, is the
map's last affine layer, so that codes are standardised: their prior has no parameters, and codes of all classes can be
compared.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxgen.core import conditions
from jaxgen.core.capabilities import Encoder, ImportanceWeighted, Latent
from jaxgen.core.checks import at_least, check_temperature
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim, to_float
from jaxgen.core.model import Aux, Batch, Images, Objective, PRNGKey, Variables
from jaxgen.nn.bijectors.base import Bijector, summed
from jaxgen.nn.bijectors.dequantise import Dequantiser, Uniform, Variational


@dataclasses.dataclass(frozen=True)
class Prior:
    """A distribution of independent numbers: `log_density` of each (nats), `draw(key, shape)`."""

    log_density: Callable[[Array], Array]
    draw: Callable[[PRNGKey, tuple[int, ...]], Array]


PRIORS = {
    "gaussian": Prior(lambda z: -0.5 * (z**2 + math.log(2 * math.pi)), jax.random.normal),
    "logistic": Prior(lambda z: -jax.nn.softplus(z) - jax.nn.softplus(-z), jax.random.logistic),
}
"""Standard ones, by name: N(0, 1), and the logistic of scale 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowModel(ImportanceWeighted, Latent, Encoder):
    """A flow, given its map. `prior_name` names the distribution of each number of a code.

    `dequantisation` is "uniform", or "variational": by a small flow of `noise_features` features (1902.00275).
    `dtype` is that of the nets' arithmetic ("float32", "bfloat16", "float64"); the map and its log-determinant are in
    float32 at least.
    """

    dequantisation: str = "uniform"
    noise_features: int = 32
    dtype: str = "float32"

    prior_name: ClassVar[str] = "gaussian"
    spherical: ClassVar = True
    conditioned_on: ClassVar[tuple[type, ...]] = ()
    lacks: ClassVar = {
        "Autoregressive": "it gives the density of all pixels at once, without conditionals of each",
        "Reconstructor": "its code holds all of an image, which decoding gives back as it was",
        "Completer": "the codes of a partial image are not known",
        "Classifier": "it is a density of images, not of classes",
        "Features": "its code keeps every detail of the image, so that distances of codes are no features'",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        at_least(self, noise_features=1)
        if self.dequantisation not in ("uniform", "variational"):
            raise UsageError(f'{name}: dequantisation must be "uniform" or "variational", got {self.dequantisation!r}.')
        if self.dtype not in ("float32", "bfloat16", "float64"):
            raise UsageError(f'{name}: dtype must be "float32", "bfloat16" or "float64", got {self.dtype!r}.')

    @property
    @abc.abstractmethod
    def flow(self) -> Bijector:
        """The map from images [b,h,w,c], 0 to 1, to codes [b,d], d = h·w·c."""

    @property
    def dequantiser(self) -> Dequantiser:
        """What draws the noise inside a level."""
        return Uniform() if self.dequantisation == "uniform" else Variational(self.noise_features, dtype=self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh parameters; layers that standardise do so on this batch. A batch without images stands for noise."""
        for_image, for_noise, for_dequantiser, for_flow = jax.random.split(key, 4)
        image = jax.random.randint(for_image, (4, *self.shape), 0, self.levels).astype(jnp.uint8)
        image = jnp.asarray(batch.get("image", image))
        noise = self.dequantiser.init(for_dequantiser, to_float(image, self.levels))
        x = (image + Uniform().noise({}, to_float(image, self.levels), for_noise)[0]) / self.levels
        blank = None if self.condition is None else jnp.zeros((len(x), 1, 1, self.condition.features))
        params = {"flow": self.flow.init(for_flow, x, blank), "dequantisation": noise}
        return {"params": {name: part for name, part in params.items() if part}}

    def objectives(self) -> tuple[Objective, ...]:
        """One: minus the bound, in nats per sub-pixel."""

        def loss(variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
            image, condition = batch["image"], self.trained_on(batch)
            for_noise, for_labels = jax.random.split(key)
            condition = conditions.drop(self.condition, condition, for_labels)
            nats = -self.log_prob(variables, image, for_noise, condition).mean()
            bits = bits_per_dim(nats, self.shape)
            return nats / math.prod(self.shape), Aux({"nats": nats, "bits_per_dim": bits})

        return (Objective("likelihood", loss, _subtrees(self), examples="separable"),)

    def _features(self, condition: Any, num: int) -> Array | None:
        self.check_condition(condition, num)
        return conditions.features(self.condition, condition, num)

    def log_density(
        self, variables: Variables, x: Float[Array, "b h w c"], condition: Any = None
    ) -> Float[Array, " b"]:
        """log p(x) of continuous images, 0 to 1, in nats: a density, which may exceed 1."""
        z, log_det = self.flow.forward(variables["params"]["flow"], x, self._features(condition, len(x)))
        return summed(PRIORS[self.prior_name].log_density(z)) + log_det

    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """Nats of each image by one draw of its noise: an unbiased estimate of a lower bound of log P."""
        image = jnp.asarray(image)
        params = variables["params"].get("dequantisation", {})
        noise, log_q = self.dequantiser.noise(params, to_float(image, self.levels), key)
        density = self.log_density(variables, (image + noise) / self.levels, condition)
        return density - log_q - math.prod(self.shape) * math.log(self.levels)

    def iwae_bound(
        self, variables: Variables, image: Images, key: PRNGKey, k: int, condition: Any = None
    ) -> Float[Array, " b"]:
        """L_k of each image (nats): the log-mean of P's estimates by k draws of the noise, one in memory at a time."""
        estimates = jax.lax.map(lambda one: self.log_prob(variables, image, one, condition), jax.random.split(key, k))
        return jax.nn.logsumexp(estimates, axis=0) - math.log(k)

    def prior(self, key: PRNGKey, num: int) -> Float[Array, "num d"]:
        """Codes of independent numbers of the prior."""
        return PRIORS[self.prior_name].draw(key, (num, math.prod(self.shape)))

    def decode(self, variables: Variables, z: Float[Array, "b d"], condition: Any = None) -> UInt8[Array, "b h w c"]:
        """The image of each code: the level that its continuous values lie in."""
        x = self.flow.inverse(variables["params"]["flow"], z, self._features(condition, len(z)))
        return jnp.clip(jnp.floor(x * self.levels), 0, self.levels - 1).astype(jnp.uint8)

    def sample(
        self, variables: Variables, key: PRNGKey, num: int, condition: Any = None, temperature: float = 1.0
    ) -> UInt8[Array, "num h w c"]:
        """The images of `num` codes of the prior, whose numbers are multiplied by `temperature` (1807.03039, §6); 1
        samples the model. Labels in turn by default."""
        if isinstance(temperature, float | int):
            check_temperature(temperature)
        condition = self.example_condition(num) if condition is None else condition
        return self.decode(variables, temperature * self.prior(key, num), condition)

    def encode(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b d"]:
        """The code of the centre of each image's levels, without noise: `decode` gives the image back."""
        x = (jnp.asarray(image, jnp.float32) + 0.5) / self.levels
        return self.flow.forward(variables["params"]["flow"], x, self._features(condition, len(x)))[0]


@functools.lru_cache(maxsize=256)
def _subtrees(model: FlowModel) -> tuple[str, ...]:
    """The subtrees of its parameters. Traced once for each model, since objectives are asked for again and again."""
    like = {"image": jax.ShapeDtypeStruct((2, *model.shape), jnp.uint8)}
    return tuple(jax.eval_shape(model.init, jax.random.key(0), like)["params"])


def check_squeezes(name: str, shape: tuple[int, int, int], squeezes: int) -> None:
    """Raises `UsageError` unless the sides of images can be halved so often."""
    h, w, _ = shape
    if h % 2**squeezes or w % 2**squeezes:
        most = min((side & -side).bit_length() - 1 for side in (h, w))
        raise UsageError(
            f"{name}: its scales halve the sides {squeezes} times, and {h}×{w} can be halved {most} times without "
            "remainder: take fewer scales, or resize the images."
        )
