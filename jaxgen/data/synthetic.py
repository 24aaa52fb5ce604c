"""Images drawn by a formula, of which everything is known: the moon by its phases. Nothing is downloaded."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from jaxgen.core.checks import check_seed
from jaxgen.core.errors import UsageError
from jaxgen.data.dataset import Dataset, Source, Split, finish

FINE = 4
"""Each pixel is the mean of so many points on a side: edges are grey, not jagged."""

DARK = 0.2
"""Brightness of the side of the moon that is not lit."""


def moons(
    size: int = 28, num: int = 2000, seed: int = 0, hold_out: tuple[float, float] = (0.6, 0.9), jitter: float = 0.05
) -> Source:
    """Grey disks lit by phase, size×size×1 with 256 levels: a phase of 0 is new, 0.5 half and 1 full, lit from the
    right.

    `num` images have phases evenly spread over 0 to 1 but for those inside `hold_out`, which the test split has, a
    fourth as many: between half and full moon there is a gap that a model has to bridge. A tenth of the images is for
    validation. Centre and radius move by up to `jitter` of the size, drawn from the seed. Beside "image" a split has
    "phase", float32[n]. Raises `UsageError` for images below 4×4, fewer than 10, phases that are not 0 ≤ from < to ≤ 1,
    and a jitter outside 0 to 0.1.

    >>> data = moons(size=8, num=100).load()
    >>> data.shape, data.levels, len(data.train), len(data.valid), len(data.test)
    ((8, 8, 1), 256, 90, 10, 25)
    """
    check_seed(seed)
    for name, value, least in (("size", size, 4), ("num", num, 10)):
        if value < least:
            raise UsageError(f"moons: {name} must be at least {least}, got {value}.")
    first, last = hold_out
    if not 0 <= first < last <= 1 or (first, last) == (0, 1):
        raise UsageError(
            f"moons: hold_out must be two phases, the lower one first, that leave some of 0 to 1, got {hold_out}."
        )
    if not 0 <= jitter <= 0.1:
        raise UsageError(f"moons: jitter must be from 0 to 0.1, or moons leave the image, got {jitter}.")

    def load() -> Dataset:
        draw = np.random.Generator(np.random.Philox(key=[seed, num]))
        seen = np.linspace(0.0, 1.0 - (last - first), num)
        seen = np.where(seen <= first, seen, seen + (last - first))
        between = np.linspace(first, last, num // 4 + 2)[1:-1]
        splits = {}
        for name, phase in (("train", seen), ("test", between)):
            moved = jitter * size * draw.uniform(-1.0, 1.0, (len(phase), 3))
            image = drawn_moons(phase, size, moved[:, :2], moved[:, 2])
            splits[name] = Split(image, phase=phase.astype(np.float32))
        protocol = (
            f"moons of {size}x{size} by seed {seed}; test: phases {first:g} to {last:g}, none of them in training"
        )
        return finish("moons", splits, 256, protocol)

    return Source("moons", load)


def drawn_moons(
    phase: Float[np.ndarray, " n"],
    size: int,
    offset: Float[np.ndarray, "n 2"] | float = 0.0,
    growth: Float[np.ndarray, " n"] | float = 0.0,
) -> UInt8[np.ndarray, "n h w 1"]:
    """Moons of these phases. Offsets of the centre, down and to the right, and growth of the radius, a third of the
    size, are in pixels.

    The line between light and dark is half an ellipse: on a disk of radius 1 at height y it lies at
    cos(π·phase)·√(1 − y²), so that the lit share of the disk is (1 − cos(π·phase)) / 2.

    >>> new, half, full = drawn_moons(np.array([0.0, 0.5, 1.0]), 64).astype(float)
    >>> round((half - new).sum() / (full - new).sum(), 3)
    0.5
    """
    phase = np.asarray(phase, np.float64)
    centre = np.broadcast_to(np.asarray(offset, np.float64), (len(phase), 2)) + size / 2
    radius = np.broadcast_to(np.asarray(growth, np.float64), phase.shape) + size / 3
    at = (np.arange(size * FINE) + 0.5) / FINE
    images = []
    for angle, (down, right), long in zip(np.pi * phase, centre, radius, strict=True):
        y, x = (at[:, None] - down) / long, (at[None] - right) / long
        inside = x**2 + y**2 <= 1
        lit = inside & (x >= np.cos(angle) * np.sqrt(np.maximum(1 - y**2, 0)))
        brightness = np.where(lit, 1.0, np.where(inside, DARK, 0.0))
        images.append(brightness.reshape(size, FINE, size, FINE).mean(axis=(1, 3)))
    return np.round(255 * np.stack(images)).astype(np.uint8)[..., None]
