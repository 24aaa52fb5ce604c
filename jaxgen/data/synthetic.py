"""Data drawn by a formula, of which everything is known: the moon by its phases; points around centres on a ring or a
grid; and digits stacked in threes, which have a thousand kinds. Nothing is downloaded."""

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


def gaussian_ring(modes: int = 8, num: int = 2000, std: float = 0.02, radius: float = 1.0, seed: int = 0) -> Source:
    """Points in the plane around `modes` centres on a circle, as many around each: see `points_around`.

    >>> data = gaussian_ring(num=800).load()
    >>> data.train["x"].shape, int(data.train["label"].max())
    ((800, 2), 7)
    """
    if modes < 1:
        raise UsageError(f"gaussian_ring: modes must be at least 1, got {modes}.")
    return points_around(f"ring of {modes}", ring_centres(modes, radius), num, std, seed)


def gaussian_grid(side: int = 5, num: int = 2000, std: float = 0.02, half: float = 1.0, seed: int = 0) -> Source:
    """Points in the plane around `side`×`side` centres from −`half` to `half`, as many around each: see
    `points_around`."""
    if side < 2:
        raise UsageError(f"gaussian_grid: side must be at least 2, got {side}.")
    return points_around(f"grid of {side * side}", grid_centres(side, half), num, std, seed)


def ring_centres(modes: int, radius: float) -> Float[np.ndarray, "k 2"]:
    """Evenly around a circle, from the right and against the clock.

    >>> ring_centres(4, 2.0).round(6).tolist()
    [[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [-0.0, -2.0]]
    """
    angle = 2 * np.pi * np.arange(modes) / modes
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def grid_centres(side: int, half: float) -> Float[np.ndarray, "k 2"]:
    """A square of side × side, row by row from below."""
    line = np.linspace(-half, half, side)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def points_around(name: str, centres: Float[np.ndarray, "k d"], num: int, std: float, seed: int = 0) -> Source:
    """Gaussians of standard deviation `std` around centres: a set of points without images.

    A split has "x", float32[n,d], and as "label" the number of the centre; centres take turns, so that each has its
    share. Of `num` points for training the validation and the test split have a fourth each. Raises `UsageError` for
    fewer than 4 points, and a deviation that is not above 0.
    """
    check_seed(seed)
    if num < 4:
        raise UsageError(f"{name}: num must be at least 4, got {num}.")
    if not 0 < std < np.inf:
        raise UsageError(f"{name}: std must be a number above 0, got {std}.")

    def load() -> Dataset:
        splits = {}
        for stream, split in enumerate(("train", "valid", "test")):
            draw = np.random.Generator(np.random.Philox(key=[seed, stream]))
            label = np.arange(num if split == "train" else num // 4, dtype=np.int32) % len(centres)
            x = centres[label] + std * draw.standard_normal((len(label), centres.shape[1]))
            splits[split] = Split(x=x.astype(np.float32), label=label)
        return finish(name, splits, None, f"points around a {name} centres by seed {seed}, {std:g} wide")

    return Source(name, load)


def stacked_mnist(of: Source, num: int | None = None, seed: int = 0) -> Source:
    """Three digits in the three channels of an image, drawn independently (1611.02163, §3.3.1): a thousand modes.

    `of` are grey images of digits with labels 0 to 9, such as `source("tfds:mnist")`. Each split is stacked from its
    own images, the training split to `num` images, all others, and that too where `num` is None, to as many as there
    are digits. The label, 0 to 999, reads like the digits from the first channel to the last. Raises `UsageError` for
    other images, for data under a transform, and fewer than 1 image.

    >>> from jaxgen.data.arrays import digits
    >>> data = stacked_mnist(digits(), num=100).load()
    >>> data.shape, len(data.train), data.levels
    ((8, 8, 3), 100, 17)
    """
    check_seed(seed)
    if num is not None and num < 1:
        raise UsageError(f"stacked_mnist: num must be at least 1, got {num}.")

    def load() -> Dataset:
        digits = of.load()
        if digits.transform is not None:
            raise UsageError(f"stacked_mnist: {digits.name} is under a transform: stack the images, then transform.")
        splits = {}
        for stream, (name, split) in enumerate(digits.splits().items()):
            label = split.label
            if digits.shape[2] != 1 or label is None or label.min() < 0 or label.max() > 9:
                raise UsageError(
                    f"stacked_mnist: wanted grey images with labels 0 to 9, but {digits.name} has "
                    f"{digits.shape[2]} channels and {'no labels' if label is None else f'labels to {label.max()}'}."
                )
            count = num if name == "train" and num is not None else len(split)
            draw = np.random.Generator(np.random.Philox(key=[seed, stream]))
            rows = draw.integers(len(split), size=(count, 3))
            image = np.stack([split.image[rows[:, i], :, :, 0] for i in range(3)], axis=-1)
            splits[name] = Split(image, (label[rows] @ [100, 10, 1]).astype(np.int32))
        return finish(
            "stacked_mnist", splits, digits.levels, f"three of each split's images by seed {seed}: {digits.protocol}"
        )

    return Source("stacked_mnist", load)


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
    >>> round(float((half - new).sum() / (full - new).sum()), 3)
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
