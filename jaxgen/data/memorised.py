"""Some images with numbers of their own, for a model that is to give back each of them; and, as controls, images that
have lost what makes them images (1611.03530, §2.1): their pixels in another order, or noise in their place."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import UInt8

from jaxgen.core.checks import check_seed
from jaxgen.core.errors import UsageError, nearest
from jaxgen.data.dataset import Dataset, Source, permutation, take

CONTENTS = ("images", "shuffled", "noise")
"""The images; their pixels in another order, the same for all; Gaussian noise of their mean and standard deviation."""


def memorised(source: Source, num: int, content: str = "images", seed: int = 0) -> Source:
    """`num` training images of a source, evenly spaced, with "number", int32[n], from 0 on. All splits are these: how
    well images are kept is a figure of themselves.

    `content` is one of `CONTENTS`; order and noise are drawn by the seed. Labels and other arrays come along. Raises
    `UsageError` for fewer than 2 images or more than there are, another content, and data under a transform.

    >>> from jaxgen.data.arrays import digits
    >>> data = memorised(digits(), 5).load()
    >>> data.train["number"].tolist(), data.test is data.train
    ([0, 1, 2, 3, 4], True)
    """
    check_seed(seed)
    if content not in CONTENTS:
        raise UsageError(
            f"memorised: content must be one of {', '.join(CONTENTS)}, got {content!r}.{nearest(content, CONTENTS)}"
        )

    def load() -> Dataset:
        data = source.load()
        if data.transform is not None:
            raise UsageError(f"{data.name} is under a transform, in which images are no longer the same: leave it out.")
        if not 2 <= num <= len(data.train):
            raise UsageError(
                f"memorised: wanted from 2 to all {len(data.train)} training images of {data.name}, got {num}."
            )
        kept = take(data.train, np.linspace(0, len(data.train) - 1, num).astype(int))
        image = changed(np.asarray(kept.image), data.levels, content, seed)
        split = kept.replaced(image=image, number=np.arange(num, dtype=np.int32))
        what = {"images": "", "shuffled": ", their pixels in one other order", "noise": ", noise in their place"}
        protocol = f"{num} training images{what[content]}, all splits the same; of {data.protocol}"
        return dataclasses.replace(data, train=split, valid=split, test=split, protocol=protocol)

    return Source(f"{source.name} ({num} {content})", load)


def changed(
    image: UInt8[np.ndarray, "n h w c"], levels: int, content: str, seed: int = 0
) -> UInt8[np.ndarray, "n h w c"]:
    """Images as one of `CONTENTS`.

    >>> image = np.arange(12, dtype=np.uint8).reshape(1, 2, 3, 2)
    >>> sorted(changed(image, 256, "shuffled").reshape(6, 2)[:, 1].tolist())  # the channels of a pixel stay together
    [1, 3, 5, 7, 9, 11]
    """
    n, h, w, c = image.shape
    if content == "shuffled":
        return image.reshape(n, h * w, c)[:, permutation(h * w, seed, h * w)].reshape(image.shape)
    if content == "noise":
        draw = np.random.Generator(np.random.Philox(key=[seed, n]))
        noise = image.mean() + image.std() * draw.standard_normal(image.shape)
        return np.clip(np.round(noise), 0, levels - 1).astype(np.uint8)
    return image


def mean_psnr(image: UInt8[np.ndarray, "n h w c"], levels: int) -> float:
    """What knowing nothing but the mean image comes to, in dB: the floor of a memory."""
    x = image.astype(np.float64) / (levels - 1)
    mse = ((x - x.mean(axis=0)) ** 2).mean(axis=(1, 2, 3))
    return float(-10.0 * np.log10(np.maximum(mse, 1e-10)).mean())
