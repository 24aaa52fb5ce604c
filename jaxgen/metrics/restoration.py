"""Measures of how near one image is to another: PSNR and SSIM, one value per image, in float32.

Both take `uint8` images of a known number of levels; the peak is levels − 1.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxgen.core.errors import UsageError

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
"""The constants of SSIM in Wang et al. 2004, §III-C."""


def psnr(
    image: UInt8[Array | np.ndarray, "b h w c"], target: UInt8[Array | np.ndarray, "b h w c"], levels: int
) -> Float[Array, " b"]:
    """Peak signal-to-noise ratio in dB, 10 log10((levels − 1)² / mean squared error); infinite for equal images.

    >>> black = np.zeros((1, 8, 8, 1), np.uint8)
    >>> round(float(psnr(black + np.uint8(1), black, 256)[0]), 2), float(psnr(black, black, 256)[0])
    (48.13, inf)
    """
    error = jnp.asarray(image, jnp.float32) - jnp.asarray(target, jnp.float32)
    return 20.0 * jnp.log10(float(levels - 1)) - 10.0 * jnp.log10((error**2).mean(axis=(1, 2, 3)))


def ssim(
    image: UInt8[Array | np.ndarray, "b h w c"], target: UInt8[Array | np.ndarray, "b h w c"], levels: int
) -> Float[Array, " b"]:
    """Structural similarity (Wang et al. 2004, eq. 13), −1 … 1, averaged over windows and channels.

    Gaussian windows of 11×11 pixels with σ = 1.5 that lie wholly inside the image; no down-sampling beforehand;
    channels apart. Raises `UsageError` for an image smaller than a window.

    >>> black, white = (np.full((1, 16, 16, 1), value, np.uint8) for value in (0, 255))
    >>> round(float(ssim(white, black, 256)[0]), 4)
    0.0001
    """
    h, w = image.shape[1:3]
    if min(h, w) < WINDOW:
        raise UsageError(f"ssim: wanted images of at least {WINDOW}x{WINDOW} pixels, got {h}x{w}; use psnr for those.")
    # The variances are differences of moments: taken about mid-scale, so that float32 loses no digits to the mean.
    centre = (levels - 1) / 2.0
    x, y = (jnp.asarray(a, jnp.float32) - centre for a in (image, target))
    mx, my = _blur(x), _blur(y)
    var_x, var_y, cov = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    mx, my = mx + centre, my + centre
    c1, c2 = (K1 * (levels - 1)) ** 2, (K2 * (levels - 1)) ** 2
    near = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (var_x + var_y + c2))
    return near.mean(axis=(1, 2, 3))


def luminance(image: UInt8[Array | np.ndarray, "b h w c"]) -> UInt8[np.ndarray, "b h w 1"]:
    """Y of ITU-R BT.601 of RGB images of 256 levels, 16 … 235, rounded, in which super-resolution is measured. Gray
    images are as they are.

    >>> luminance(np.array([0, 0, 0, 255, 255, 255, 255, 0, 0], np.uint8).reshape(1, 1, 3, 3)).ravel().tolist()
    [16, 235, 81]
    """
    image = np.asarray(image)
    if image.shape[-1] == 1:
        return image
    y = 16.0 + image @ np.array([65.481, 128.553, 24.966]) / 255.0
    return np.round(y[..., None]).astype(np.uint8)


def _blur(x: Array) -> Array:
    """Means under every Gaussian window inside the map [b,h,w,c]: one column pass, one row pass."""
    offset = np.arange(WINDOW) - WINDOW // 2
    bell = np.exp(-0.5 * (offset / SIGMA) ** 2)
    kernel = jnp.asarray(bell / bell.sum(), jnp.float32)
    for axis in (1, 2):
        n = x.shape[axis] - WINDOW + 1
        parts = [kernel[i] * jax.lax.slice_in_dim(x, i, i + n, axis=axis) for i in range(WINDOW)]
        x = jnp.stack(parts).sum(axis=0)
    return x
