"""How sharp images are, by their power spectrum: blur takes away what oscillates quickly."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

HALF_NYQUIST = 0.25
"""Cycles per pixel; an image holds frequencies up to a half."""


def tail_power(x: Float[Array | np.ndarray, "b h w c"]) -> Float[Array, " b"]:
    """The power of each image, per sub-pixel, at frequencies above half of Nyquist's: that part of its variance which
    waves of fewer than four pixels make up. Of white noise of variance 1 it is about .8; the mean is of no account.

    >>> stripes = jnp.tile(jnp.array([1.0, -1.0]), 8)[None, None, :, None] * jnp.ones((1, 16, 1, 1))
    >>> [float(tail_power(image)[0]) for image in (stripes, stripes[:, :, ::4])]
    [1.0, 0.0]
    """
    h, w = x.shape[1:3]
    frequency = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None])
    power = jnp.abs(jnp.fft.fft2(x, axes=(1, 2))) ** 2 / (h * w) ** 2
    return (power * (frequency > HALF_NYQUIST)[..., None]).sum(axis=(1, 2)).mean(axis=-1)
