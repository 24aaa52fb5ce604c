"""What a trained model shows without a latent vector: draws, growth, surprise, and the field that it really sees.

Everything rests on the factorisation log p(x) = Σ log p(x_i | x_<i) of `Autoregressive` models; draws need only a
`Sampler` or a `Completer`. The receptive field is the effective one of 1701.04128, by gradients at real images, of a
log-probability instead of a feature.

Programs here are `program(variables, key, rows) -> [b, …]` over a batch of rows: "row", the numbers of the images
within the whole, and "image", "condition" and the code "z" where they are needed. `in_chunks` runs one of them over any
number of images, in chunks of one size. Drawn images have a key each, made from their numbers, so that neither the
chunk nor the number of images changes them (up to rounding, which may tip a draw that lies on a boundary).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxgen.core.capabilities import Autoregressive, require
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.model import ImageModel, Variables
from jaxgen.explore.inputs import Images


def surprise(
    model: Autoregressive, variables: Variables, image: Images, condition: Any = None
) -> Float[Array, "b h w"]:
    """Bits of each pixel given those before it, −log2 p(x_i | x_<i) summed over its channels.

    The map adds up to −log2 p of the image.
    """
    return -_chosen(model.log_pmf(variables, image, condition), image).sum(axis=-1) / math.log(2.0)


def influence(
    model: Autoregressive,
    variables: Variables,
    image: Images,
    condition: Any = None,
    at: tuple[int, int] | None = None,
) -> Float[Array, "b h w"]:
    """How far each pixel moves the prediction of the one at (row, column), by default the centre (h//2, w//2).

    |∂ log p(x_at | x_<at) / ∂ x_j| summed over the channels of j, in nats per full range of intensity: the gradient of
    the log-probability of the value that is there, with respect to the other values as numbers. It is zero outside
    of the model's `context()`, and of what a net is fed by a step function (`marks`) it shows nothing.
    """
    r, c = _place(model, at)

    def log_prob(x: Array) -> Array:
        log_pmf = jax.nn.log_softmax(model.logits(variables, x, condition))
        return _chosen(log_pmf[:, r, c], jnp.asarray(image)[:, r, c]).sum()

    return jnp.abs(jax.grad(log_prob)(to_float(image, model.levels))).sum(axis=-1)


def seen_by(model: Autoregressive, at: tuple[int, int] | None = None) -> Bool[np.ndarray, "h w"]:
    """The declared context of a pixel, the centre by default: what its channels can see of each pixel's channels."""
    r, c = _place(model, at)
    return np.asarray(model.context()[r, c].any(axis=(0, 3)))


def share_of(field: Float[np.ndarray, "h w"], share: float) -> int:
    """The fewest pixels that hold a share (0 to 1) of a field's sum."""
    mass = np.cumsum(np.sort(np.asarray(field, np.float64).reshape(-1))[::-1])
    return int(np.searchsorted(mass, share * mass[-1] * (1 - 1e-9)) + 1) if mass[-1] > 0 else 0


def drawing_rank(model: ImageModel) -> Int[np.ndarray, "h w"]:
    """When a model draws each pixel, 0 for the first. Raises `UsageError` where it draws in no one order of pixels."""
    return require(model, Autoregressive, "show images growing").drawing_rank()


def growth(rank: Int[np.ndarray, "h w"], most: int = 100) -> Bool[np.ndarray, "frames h w"]:
    """Which pixels are there in each frame of a growing image: none, then more and more in their order, then all.

    With every pixel a frame of its own where `most` frames allow it, and evenly spaced counts otherwise.
    """
    counts = np.linspace(0, rank.size, min(rank.size + 1, max(most, 2))).round().astype(int)
    return rank < counts[:, None, None]


def _place(model: ImageModel, at: tuple[int, int] | None) -> tuple[int, int]:
    h, w, _ = model.shape
    r, c = (h // 2, w // 2) if at is None else at
    if not (0 <= r < h and 0 <= c < w):
        raise UsageError(f"the pixel at must lie inside the {h}×{w} image, got row {r}, column {c}.")
    return r, c


def _chosen(log_pmf: Array, value: Any) -> Array:
    return jnp.take_along_axis(log_pmf, jnp.asarray(value, jnp.int32)[..., None], axis=-1)[..., 0]
