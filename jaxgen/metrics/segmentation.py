"""How well a segmentation agrees with the true one, and segmentations read off pictures painted in flat colours.

The figures are those of fully convolutional nets (1411.4038, §5), by which pix2pix (1611.07004, §3.2) judges images:
what was drawn of a map of labels is good where the labels can be recovered from it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, UInt8

from jaxgen.core.errors import UsageError

MOST = 64
"""Colours that a picture of labels has at most."""


def colours_of(image: UInt8[np.ndarray, "b h w c"], what: str = "these images") -> UInt8[np.ndarray, "k c"]:
    """The colours that occur in images, sorted. Raises `UsageError` for more than 64, which are no labels; `what` names
    the images.

    >>> colours_of(np.array([[9, 0], [0, 9]], np.uint8).reshape(1, 2, 2, 1)).tolist()
    [[0], [9]]
    """
    colours = np.unique(image.reshape(-1, image.shape[-1]), axis=0)
    if len(colours) > MOST:
        raise UsageError(
            f"a segmentation is read off pictures of at most {MOST} flat colours, and {what} have {len(colours):,}: "
            "leave it out, or take pictures of labels that were scaled without mixing colours."
        )
    return colours


def nearest_colour(image: UInt8[np.ndarray, "b h w c"], colours: UInt8[np.ndarray, "k c"]) -> Int[np.ndarray, "b h w"]:
    """Of each pixel the number of the colour that is nearest to it, the first of several."""
    palette, labels = colours.astype(np.int32), []
    for one in image:  # an image at a time: there is a distance for every pixel and colour
        labels.append(((one.astype(np.int32)[..., None, :] - palette) ** 2).sum(axis=-1).argmin(axis=-1))
    return np.stack(labels)


def agreement(predicted: Int[np.ndarray, "b h w"], true: Int[np.ndarray, "b h w"], classes: int) -> dict[str, float]:
    """Percentages over all pixels: "pixels" that are right; "classes", the share of its pixels that are right, averaged
    over the classes that there are; and "overlap", the mean over them of intersection by union.

    >>> true = np.array([0, 0, 0, 1]).reshape(1, 2, 2)
    >>> agreement(np.array([0, 0, 1, 1]).reshape(1, 2, 2), true, 3)["pixels"]
    75.0
    """
    counts = np.bincount((true * classes + predicted).ravel(), minlength=classes**2).reshape(classes, classes)
    right, there, said = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    known = there > 0
    overlap = right[known] / (there + said - right)[known]
    return {
        "pixels": float(100 * right.sum() / counts.sum()),
        "classes": float(100 * (right[known] / there[known]).mean()),
        "overlap": float(100 * overlap.mean()),
    }
