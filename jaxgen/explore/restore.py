"""What a restored image is worth, and the settings of each task of Deep Image Prior (1711.10925, and its code)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxgen.metrics.restoration import WINDOW, luminance, psnr, ssim
from jaxgen.pictures.page import below, beside, colour, enlarged, framed, lines, scale_for


class Settings(NamedTuple):
    """How a task is fitted: for how many steps, with which jitter of z, and how maps are enlarged."""

    steps: int
    jitter: float
    upsampling: Literal["bilinear", "nearest"] = "bilinear"


SETTINGS = {
    "denoise": Settings(3000, 1 / 30),
    "jpeg": Settings(2400, 1 / 30),
    "superres2": Settings(2000, 0.03),
    "superres4": Settings(2000, 0.03),
    "superres8": Settings(4000, 0.05),
    "inpaint": Settings(6000, 0.03, "nearest"),
}
"""By the task, of super-resolution with its factor."""


def figures(image: UInt8[Any, "b h w c"], original: UInt8[Any, "b h w c"], factor: int = 1) -> dict[str, list[float]]:
    """ "psnr" in dB and "ssim" of each image against its original, of 256 levels; of images that were enlarged by a
    factor "psnr_y" as well, as in the papers: that of luminance, without an edge of so many pixels.

    An image equal to its original has infinite PSNR; none smaller than SSIM's window has SSIM.

    >>> black = np.zeros((1, 16, 16, 3), np.uint8)
    >>> {name: round(*value, 2) for name, value in figures(black + np.uint8(1), black, 2).items()}
    {'psnr': 48.13, 'ssim': 0.87, 'psnr_y': 48.13}
    """
    each = {"psnr": psnr(image, original, 256)}
    if min(np.shape(image)[1:3]) >= WINDOW:
        each["ssim"] = ssim(image, original, 256)
    if factor > 1:
        inner = slice(factor, -factor)
        y, wanted = (luminance(x)[:, inner, inner] for x in (image, original))
        each["psnr_y"] = psnr(y, wanted, 256)
    return {name: np.asarray(values, float).tolist() for name, values in each.items()}


def page(
    damaged: UInt8[np.ndarray, "b h w c"],
    restored: UInt8[np.ndarray, "b h w c"],
    original: UInt8[np.ndarray, "b h w c"] | None,
    compared: Mapping[str, Mapping[str, list[float]] | None],
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A row for each image: as it was damaged, as it was restored, with their figures (of `figures`), and the original
    where there is one."""
    scale = scale_for(restored.shape[1:], 160)
    rows = []
    for i in range(len(restored)):
        tiles = [(damaged[i], f"damaged{_said(compared['damaged'], i)}")]
        tiles += [(restored[i], f"restored{_said(compared['restored'], i)}")]
        tiles += [] if original is None else [(original[i], "original")]
        rows.append(beside(below([enlarged(colour(x), scale), lines(text)], 2) for x, text in tiles))
    return framed(below(rows))


def _said(figures: Mapping[str, list[float]] | None, i: int) -> str:
    """The figures of an image, in a line below its name."""
    if figures is None:
        return ""
    ssim = f", SSIM {figures['ssim'][i]:.3f}" if "ssim" in figures else ""
    return f"\n{figures['psnr'][i]:.2f} dB{ssim}"
