"""Images and masks for `jaxgen complete`, from pictures, data sets and splits, as the model of a run sees them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from jaxgen.data.pictures import SUFFIXES, read_picture
from jaxgen.errors import UsageError
from jaxgen.images import requantise

HOLE = 96
"""Grey of 0 … 255 that stands for a pixel that was not given, the colour of a grid's margins."""


def mask(keep: str, shape: tuple[int, int, int]) -> Bool[np.ndarray, "h w"]:
    """True where pixels are given: a half by its name, or the light part of a picture of the model's size."""
    h, w, _ = shape
    given = np.zeros((h, w), bool)
    halves: dict[str, Any] = {
        "top-half": np.s_[: h // 2],
        "bottom-half": np.s_[h - h // 2 :],
        "left-half": np.s_[:, : w // 2],
        "right-half": np.s_[:, w - w // 2 :],
    }
    if keep in halves:
        given[halves[keep]] = True
        return given
    light = read_picture(Path(keep), 1)
    if light.shape[:2] != (h, w):
        raise UsageError(
            f"mask {keep} is {light.shape[0]}×{light.shape[1]}, the model's images are {h}×{w}: resize it."
        )
    return light[..., 0] >= 128


def images(run: Any, name: str, num: int) -> UInt8[np.ndarray, "b h w c"]:
    """`num` images, evenly spaced, of a split of the run's data, of one picture, or of another data set's test split.

    Pictures are requantised to the model's levels. Raises `UsageError` for another size, or levels of a data set.
    """
    model = run.model
    path = Path(name)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        if model.shape[2] not in (1, 3):
            raise UsageError(f"a picture can be read for 1 or 3 channels, the model has {model.shape[2]}: give an npz.")
        image = read_picture(path, model.shape[2])[None]
        run.check(image.shape[1:], model.levels, name)
        return requantise(image, 256, model.levels)
    if name in ("test", "valid", "train"):
        dataset, split = run.dataset, getattr(run.dataset, name)
        if split is None:
            raise UsageError(f"{dataset.name} has no {name} split: --images valid, or another data set.")
    else:
        dataset = run.other_data(name)
        split = dataset.valid if dataset.test is None else dataset.test
    run.check(dataset.shape, dataset.levels, dataset.name)
    image = split.image[np.linspace(0, len(split) - 1, min(num, len(split))).astype(int)]  # files are often sorted
    if dataset.transform is not None:
        import jax

        seen = jax.jit(functools.partial(_seen, dataset.transform))
        image = np.asarray(seen(image, jax.random.key(0)))
    return np.asarray(image)


def side_by_side(image: Any, given: Any, drawn: Any, levels: int) -> UInt8[np.ndarray, "n h w c"]:
    """Rows of original, given part, completions, as 0 … 255; `drawn` holds each image's completions in turn."""
    image, drawn = (np.round(np.asarray(x, np.float32) * (255 / (levels - 1))).astype(np.uint8) for x in (image, drawn))
    partial = np.where(np.asarray(given)[..., None], image, np.uint8(HOLE))
    drawn = drawn.reshape(len(image), -1, *image.shape[1:])
    return np.concatenate([image[:, None], partial[:, None], drawn], 1).reshape(-1, *image.shape[1:])


def _seen(transform: Any, image: Any, key: Any) -> Any:
    return transform({"image": image}, key, False)["image"]
