"""Pairs of pictures: an image, and the one that it is to be drawn from as a map of its condition, values 0 … 1.

They lie in two folders whose pictures have the same names, or in one folder of double pictures, as the data sets of
pix2pix (1611.07004) are stored. `jittered` is that paper's augmentation (§6.2); `made_pairs` makes pairs of images
alone.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.core.model import Batch
from jaxgen.data.dataset import Dataset, Source, Split, finish
from jaxgen.data.picture_folder import Size, fitted, folder, pair, picture_files
from jaxgen.data.transforms import chained

HALVES = ("left", "right")
JITTER = 286 / 256
"""How much larger a training pair is made before it is cut back to its size, as in the paper."""


def pairs(
    path: str | os.PathLike[str], inputs: str = "", crop: Size | str | None = None, resize: Size | None = None
) -> Source:
    """Pictures of a folder, each with the one of `inputs` as its condition: a map, values 0 … 1.

    `inputs` is another folder, in which each picture has a partner of the same name, whatever its suffix, or "left" or
    "right": then `path` holds double pictures, of which that half is the input. Splits are stated by subfolders, as of
    `folder`, alike in both; `crop` and `resize` are done to both pictures of a pair. Raises `UsageError` for a picture
    without a partner, for pairs that differ in size, and double pictures of an odd width.
    """
    root = home_path(path)
    if not inputs:
        raise UsageError(
            f"pairs:{path}: wanted inputs=FOLDER, in which each picture has a partner of the same name, or inputs=left "
            "or inputs=right for double pictures."
        )
    if inputs in HALVES:
        return Source(f"pairs:{root}", lambda: _doubles(root, inputs, crop, pair(resize)))
    other = home_path(inputs)

    def load() -> Dataset:
        images, told = (folder(home, crop, resize).load() for home in (root, other))
        _check_names(root, other)
        if images.shape[:2] != told.shape[:2]:
            sizes = " but ".join(f"{home} {h}x{w}" for home, (h, w, _) in ((root, images.shape), (other, told.shape)))
            raise UsageError(
                f"pairs differ in size: {sizes} (height x width). Ask for one size: resize={images.shape[0]}, say."
            )
        splits = {
            name: split.replaced(condition=_as_map(told.splits()[name].image))
            for name, split in images.splits().items()
        }
        return dataclasses.replace(_with(images, splits), protocol=f"{images.protocol}; inputs of the same names")

    return Source(f"pairs:{root}", load)


def _check_names(root: Path, other: Path) -> None:
    """Raises `UsageError` unless the pictures of both folders have the same names and come in the same order."""
    names = [[file.relative_to(home).with_suffix("") for file in picture_files(home)] for home in (root, other)]
    if names[0] == names[1]:
        return
    for home, own, beside, others in ((root, names[0], other, names[1]), (other, names[1], root, names[0])):
        alone = sorted(set(own) - set(others))
        if alone:
            raise UsageError(
                f"{home / alone[0]}: has no picture of its name in {beside}, nor have {len(alone) - 1:,} others of "
                f"{len(own):,}: give both pictures of a pair one name, or move away those without a partner."
            )
    raise UsageError(f"{root} and {other} sort their names differently: give their pictures one suffix.")


def _doubles(root: Path, inputs: str, crop: Any, resize: Any) -> Dataset:
    data = folder(root).load()
    h, w, _ = data.shape
    if w % 2:
        raise UsageError(f"{root}: double pictures have an even width, got {h}x{w} (height x width).")
    half = w // 2
    left, right = slice(None, half), slice(half, None)
    of_input, of_image = (left, right) if inputs == "left" else (right, left)

    def cut(image: np.ndarray, side: slice) -> np.ndarray:
        part = image[:, :, side]
        return part if crop is None and resize is None else np.stack([_fitted(x, crop, resize, root) for x in part])

    splits = {
        name: split.replaced(image=cut(split.image, of_image), condition=_as_map(cut(split.image, of_input)))
        for name, split in data.splits().items()
    }
    return dataclasses.replace(_with(data, splits), protocol=f"{data.protocol}; double pictures, input {inputs}")


def _fitted(image: np.ndarray, crop: Any, resize: Any, root: Path) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    cropped = fitted(picture, crop if isinstance(crop, str) else pair(crop), resize, str(root))
    return np.asarray(cropped).reshape(cropped.height, cropped.width, -1)


def _as_map(image: np.ndarray) -> Float[np.ndarray, "n h w k"]:
    return np.asarray(image, np.float32) / np.float32(255)


def _with(data: Dataset, splits: dict[str, Split]) -> Dataset:
    """The data with other splits, checked."""
    return dataclasses.replace(finish(data.name, splits, data.levels, data.protocol), transform=data.transform)


def jittered(of: Source) -> Source:
    """Training pairs are enlarged, 256 pixels to 286, and cut back to their size at a place that is drawn anew at each
    use, both alike; evaluation sees them as they are."""

    def jitter(batch: Batch, key: Key[Array, ""], train: bool) -> Batch:
        if not train:
            return batch
        b, h, w, _ = batch["image"].shape
        size = (round(h * JITTER), round(w * JITTER))
        places = jax.random.uniform(key, (b, 2))
        room = jnp.array([size[0] - h + 1, size[1] - w + 1])
        corner = jnp.floor(places * room).astype(jnp.int32)

        def cut(large: Array, at: Array) -> Array:
            return jax.lax.dynamic_slice(large, (at[0], at[1], 0), (h, w, large.shape[-1]))

        moved: Batch = {}
        for name in ("image", "condition"):
            if name in batch:
                x = batch[name]
                large = jax.image.resize(x.astype(jnp.float32), (b, *size, x.shape[-1]), "linear")
                part = jax.vmap(cut)(large, corner)
                moved[name] = jnp.round(part).astype(x.dtype) if x.dtype == jnp.uint8 else part
        return {**batch, **moved}

    def load() -> Dataset:
        data = of.load()
        protocol = f"{data.protocol}; training images enlarged and cut at random"
        return dataclasses.replace(data, transform=chained(data.transform, jitter), protocol=protocol)

    return Source(f"{of.name} (jittered)", load)
