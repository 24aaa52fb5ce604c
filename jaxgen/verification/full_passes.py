"""Completion as it is defined: a full pass of the network for each sub-pixel. What quick ways are held against."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8

from jaxgen.core.capabilities import Autoregressive, Incremental
from jaxgen.core.images import to_float
from jaxgen.core.model import Images, Mask, PRNGKey, Variables
from jaxgen.core.orders import order_rank


def complete_by_full_passes(
    model: Autoregressive,
    variables: Variables,
    key: PRNGKey,
    image: Images,
    given: Mask,
    condition: Any = None,
    temperature: float = 1.0,
) -> UInt8[Array, "b h w c"]:
    """`complete` of a pixel model by its `logits` alone, with the same draws, hundreds of times slower.

    Images equal to `image` where `given`. A draw is the largest of log-probabilities, divided by the temperature, with
    Gumbel noise; that of the sub-pixel which is drawn as number i has the key `fold_in(key, i)`. Several walks, one
    after the other, have keys of their own, split off, and each numbers all pixels that it goes over.
    """
    walks = [_places(order_rank(_sides(model, w.stride), w.order), w.stride) for w in _walks(model)]
    walks = walks or [_places(model.drawing_rank(), 1)]
    keys = [key] if len(walks) == 1 else list(jax.random.split(key, len(walks)))
    drawn, known = jnp.asarray(image), jnp.asarray(given)
    for places, walk_key in zip(walks, keys, strict=True):
        drawn = _completed(model, variables, walk_key, drawn, known, condition, temperature, places)
        known = known.at[places[:, 0], places[:, 1]].set(True)
    return drawn


def _walks(model: Autoregressive) -> tuple[Any, ...]:
    return model.walks() if isinstance(model, Incremental) else ()


def _sides(model: Autoregressive, stride: int) -> tuple[int, int]:
    h, w, _ = model.shape
    return -(-h // stride), -(-w // stride)


def _places(rank: Int[np.ndarray, "h w"], stride: int) -> Int[np.ndarray, "n 2"]:
    """Row and column of each pixel of a walk, in the order in which they are drawn."""
    return stride * np.stack(np.unravel_index(np.argsort(rank, axis=None), rank.shape), axis=1)


def _completed(
    model: Autoregressive,
    variables: Variables,
    key: PRNGKey,
    image: Array,
    known: Array,
    condition: Any,
    temperature: float,
    places: Int[np.ndarray, "n 2"],
) -> Array:
    channels, at = model.shape[2], jnp.asarray(places)

    def pixel(image: Array, number: Array) -> tuple[Array, None]:
        row, column = at[number]
        for channel in range(channels):
            logits = model.logits(variables, to_float(image, model.levels), condition)[:, row, column, channel]
            noise = jax.random.gumbel(jax.random.fold_in(key, number * channels + channel), logits.shape, logits.dtype)
            value = jnp.argmax(logits / temperature + noise, axis=-1).astype(jnp.uint8)
            value = jnp.where(known[row, column], image[:, row, column, channel], value)
            image = image.at[:, row, column, channel].set(value)
        return image, None

    return jax.lax.scan(pixel, image, jnp.arange(len(places)))[0]
