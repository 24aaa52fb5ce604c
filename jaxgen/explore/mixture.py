"""Another sampler of a trained model: a mixture of Gaussians fitted to the codes of images, in place of its prior.

The codes of images, q(z) = E_x q(z|x), are seldom the prior; where they are not, decoded draws of the prior come from
places that the decoder has not learned. An auto-encoder, which has no prior to speak of, gets one so (1903.12436).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxgen.core.capabilities import Decoder, Encoder, require
from jaxgen.core.checks import check_count, check_seed
from jaxgen.explore.inputs import code_shape
from jaxgen.explore.latent import check_encodes
from jaxgen.explore.trained import Images, Trained
from jaxgen.maths import mixtures
from jaxgen.maths.mixtures import Mixture

FLOOR = 1e-4
"""What is added to the variances of a mixture of codes, so that in float32 matrices of many dimensions are inverted."""


def check_mixture(model: Any) -> None:
    """Raises `UsageError` unless the model encodes images and decodes such codes."""
    purpose = "draw from a mixture fitted to the codes of its images"
    require(model, Encoder, purpose)
    require(model, Decoder, purpose)
    check_encodes(model)


def fitted(
    run: Trained,
    image: Images,
    components: int = 10,
    covariance: str = "full",
    steps: int = 50,
    seed: int = 0,
    condition: Any = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Mixture, float]:
    """A mixture fitted to the codes of images, those of training say, and its mean log-density of them in nats.

    Raises `UsageError` for a model that does not decode what it encodes, and for what makes no mixture
    (`mixtures.fit`).
    """
    check_mixture(run.model)
    check_seed(seed)
    z = run.encode(image, condition, progress)
    mixture, log_likelihood = mixtures.fit(jax.random.key(seed), z, components, covariance, steps, FLOOR)
    return mixture, float(log_likelihood[-1])


def codes(mixture: Mixture, num: int, seed: int = 0) -> Float[np.ndarray, "num d"]:
    """Draws of the mixture; a code depends on the seed and its number, not on `num`."""
    check_count(num)
    check_seed(seed)

    def one(number: Array) -> Array:
        return mixtures.sample(mixture, jax.random.fold_in(jax.random.key(seed), number), 1)[0]

    return np.asarray(jax.jit(jax.vmap(one))(np.arange(num)))


def sampled(
    run: Trained,
    mixture: Mixture,
    num: int = 64,
    seed: int = 0,
    condition: Any = None,
    progress: Callable[[int], None] | None = None,
) -> UInt8[np.ndarray, "num h w c"]:
    """The images of draws of the mixture; conditions are the model's example by default, as of `Trained.sample`."""
    check_mixture(run.model)
    return run.decode(codes(mixture, num, seed).reshape(num, *code_shape(run.model)), condition, progress)
